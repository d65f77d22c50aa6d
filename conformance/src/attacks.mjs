// The attacks that cases play. A beacon withstands one if every case of it passes.

export const ATTACKS = {
  forgery: "speak for a peer without its key",
  tampering: "change what a peer has signed",
  "weak-keys": "sign for everybody with a key, or half a signature, of small order",
  malleability: "make a second signature of one that was seen",
  confusion: "have two verifiers read one ticket as two things",
  replay: "use again what was signed for another place or time",
  resurrection: "bring back a peer that has left, with a ticket of before",
  squatting: "hold a name against its owner, or take its owner off the list",
  future: "hoard tickets that begin or last longer than any may",
  flood: "crowd others out by keys without number from one network",
  crowd: "crowd out those who came first, from hundreds of networks",
  exhaustion: "make the beacon read, keep or answer without bound",
  "relayed-challenge": "hand on another beacon's challenge, to bind a connection there",
  "signal-forgery": "signal in another peer's name, or flood a peer with signals",
  "mail-theft": "read, acknowledge or move another one's messages",
  "mail-forgery": "write to a mailbox, or change who may, without the right to",
};
