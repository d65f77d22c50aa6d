// Remembers the linear memories of WebAssembly instances. Imported before a module that makes one.

const memories = [];

const { Instance } = WebAssembly;
WebAssembly.Instance = class extends Instance {
  constructor(module, imports) {
    super(module, imports);
    memories.push(this.exports.memory);
  }
};

/** @returns {number} Bytes of all of them. They only ever grow. */
export const linearMemoryBytes = () => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
