// The beacons of `npm start`, which this page may kill and start again. Elsewhere it is served without the token, and has
// no such buttons.

export type BeaconState = "running" | "killed" | "starting" | "stopped";
export type Action = "kill" | "start";

const token = document.querySelector<HTMLMetaElement>('meta[name="beacon-control"]')?.content;

/** Whether this page was served by `npm start`. */
export const hasControl = token !== undefined;

/** Returns the state of each beacon by its URL. Rejects where `npm start` has ended. */
export function readStates(): Promise<Map<string, BeaconState>> {
  return ask();
}

/** Rejects with what was wrong, in words. */
export function act(beacon: string, action: Action): Promise<Map<string, BeaconState>> {
  return ask({
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token, beacon, action }),
  });
}

async function ask(init?: RequestInit): Promise<Map<string, BeaconState>> {
  const response = await fetch("/beacons", init);
  const { beacons, error } = (await response.json()) as { beacons?: { url: string; state: BeaconState }[]; error?: string };
  if (!beacons) throw new Error(error ?? `the server of this page answered ${response.status}`);
  return new Map(beacons.map(({ url, state }) => [url, state]));
}
