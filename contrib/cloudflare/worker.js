// The Worker of the npm package rendezvous-beacon, as it was built and tested there. Cloudflare looks for the classes of Durable
// Objects here.
export { Community, Mailbox, default } from "rendezvous-beacon/worker";
