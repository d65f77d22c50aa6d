// What outlives the page: the key, the peers that were seen, the newest capsules. IndexedDB, or memory where there is
// none that works (Node, private windows, storage switched off).

export interface Store {
  /**
   * Replaces the value of `key` by what `change` makes of it, in one step for all pages; `undefined` leaves it.
   *
   * @returns The value then stored.
   */
  update(key: string, change: (value: unknown) => unknown): Promise<unknown>;
}

const DATABASE = "rendezvous-beacon";
const TABLE = "values";
/** A database that another page blocks, or that hangs, must not keep this one from announcing. */
const PATIENCE_MS = 3_000;

export function memoryStore(): Store {
  const values = new Map<string, unknown>();
  return {
    async update(key, change) {
      const value = change(values.get(key));
      if (value !== undefined) values.set(key, value);
      return values.get(key);
    },
  };
}

/**
 * Opens a store that never rejects: what cannot be stored is kept in memory.
 *
 * @param getFactory To ask is an error where a page may have none.
 */
export async function openStore(getFactory: () => IDBFactory | undefined): Promise<Store> {
  const memory = memoryStore();
  const connect = async () => open(getFactory() as IDBFactory);
  // Not there, or not allowed here.
  let database = await connect().catch(() => undefined);
  const update: Store["update"] = async (key, change) => {
    const value = await updateIn(database as IDBDatabase, key, change);
    // For as long as the page lives, it knows what it has read and written.
    return memory.update(key, () => value);
  };
  const reopen = async (error: unknown): Promise<void> => {
    // Closed under this page, by the browser or for a later version. One that is full, or hangs, is not helped by that.
    if ((error as Error | undefined)?.name !== "InvalidStateError") throw error;
    database = await connect();
  };
  return {
    update: (key, change) =>
      update(key, change)
        .catch(async (error) => {
          await reopen(error);
          return update(key, change);
        })
        .catch(() => memory.update(key, change)),
  };
}

/**
 * Opens a store for what must not be lost: where there is IndexedDB, `update` rejects unless the value was stored, and
 * nothing is kept in memory in its place.
 *
 * @param getFactory To ask is an error where a page may have none.
 */
export async function openDurableStore(getFactory: () => IDBFactory | undefined): Promise<Store> {
  const factory = getFactory();
  if (!factory) return memoryStore();
  let database = await open(factory);
  return {
    update: (key, change) =>
      updateIn(database, key, change).catch(async () => {
        // Closed under this page, perhaps: by the browser, or for a later version.
        database = await open(factory);
        return updateIn(database, key, change);
      }),
  };
}

/** A promise that does not wait for ever. */
function patiently<T>(begin: (resolve: (value: T) => void, reject: () => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    // One that runs out when all is done does no harm.
    setTimeout(reject, PATIENCE_MS);
    begin(resolve, reject);
  });
}

function open(factory: IDBFactory): Promise<IDBDatabase> {
  return patiently((resolve, reject) => {
    const request = factory.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
    request.onerror = reject;
    request.onsuccess = () => {
      // A later version of this library must not wait for this page.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
  });
}

function updateIn(database: IDBDatabase, key: string, change: (value: unknown) => unknown): Promise<unknown> {
  return patiently((resolve, reject) => {
    const transaction = database.transaction(TABLE, "readwrite");
    const table = transaction.objectStore(TABLE);
    let value: unknown;
    const read = table.get(key);
    read.onsuccess = () => {
      value = change(read.result);
      try {
        if (value === undefined) value = read.result;
        else table.put(value, key);
      } catch {
        // Some private windows cannot store keys.
        transaction.abort();
      }
    };
    transaction.oncomplete = () => resolve(value);
    transaction.onabort = reject;
  });
}
