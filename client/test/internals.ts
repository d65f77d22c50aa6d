// What the tests look at besides the package's own exports.
export * from "../src/bytes.js";
export * from "../src/capsule.js";
export * from "../src/chain.js";
export * from "../src/ed25519.js";
export * from "../src/json.js";
export * from "../src/ticket.js";
export * from "../src/clock.js";
export * from "../src/host.js";
export * from "../src/peers.js";
export * from "../src/reason.js";
export * from "../src/request.js";
export * from "../src/revocation.js";
export * from "../src/root.js";
export * from "../src/rendezvous.js";
export * from "../src/identity.js";
export * from "../src/schedule.js";
export * from "../src/store.js";
