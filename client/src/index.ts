// rendezvous-beacon: two pages find each other, whatever is down.
export { Rendezvous } from "./rendezvous.js";
export type { RendezvousEvents, RendezvousStatus } from "./rendezvous.js";
export { RendezvousError } from "./identity.js";
export type { IdentitySigner } from "./identity.js";
export type { RendezvousOptions } from "./options.js";
export type { Peer, PeerChanges, PeerList } from "./peers.js";
export type { SourceStatus } from "./source.js";
export { explain } from "./explain.js";
export type { Reason } from "./reason.js";
