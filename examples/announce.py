#!/usr/bin/env python3
"""Keeps this machine announced at one beacon, and prints who else is there: pip install cryptography, then

    python3 announce.py https://beacon.example my-community my-server

Section 11 of protocol/README.md has the rules. beacon.py, beside it, verifies tickets. Each start has a key of its own.
"""
import base64, contextlib, http.client, json, random, secrets, sys, time, urllib.request

from beacon import LIFETIME_MS, Refusal, Ticket, canonical, clock
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

class AsItIs(urllib.request.HTTPErrorProcessor):
    """Follows no redirect, and reads a refusal like any answer."""
    http_response = https_response = lambda self, request, response: response

def read(text):
    """Reads JSON. An object with two equal keys is none."""
    return json.loads(text, object_pairs_hook=lambda pairs: dict(pairs) if len(dict(pairs)) == len(pairs) else None)

def sign(key, payload):
    parts = {"publicKey": key.public_key().public_bytes_raw(), "signature": key.sign(canonical(payload).encode())}
    texts = {name: base64.b64encode(data).decode() for name, data in parts.items()}
    return {"version": 1, "algorithm": "ed25519", "payload": payload, **texts}

def is_good(ticket, community, now):
    """Returns whether another peer's ticket is good now. A bad one costs only itself."""
    with contextlib.suppress(Refusal):
        return Ticket(ticket, is_goodbye=False).check(community, now, revoked=()) is None
    return False

def ask(url, body):
    """Returns a beacon's answer, which may be a refusal; an empty one where there is none."""
    with contextlib.suppress(http.client.HTTPException, OSError, RecursionError, ValueError):
        with urllib.request.build_opener(AsItIs).open(url, canonical(body).encode(), timeout=10) as response:
            return fields if isinstance(fields := read(response.read(512 * 1024)), dict) else {}
    return {}

def main(beacon, community, peer_id):
    key, sent, failures = Ed25519PrivateKey.generate(), None, 0
    while True:
        # What was not answered may have been accepted: it is sent again, while it is not old.
        if sent is None or clock() > sent["payload"]["issuedAt"] + LIFETIME_MS / 2:
            payload = {"peerId": peer_id, "userId": peer_id, "community": community, "issuedAt": (now := clock())}
            nonce = base64.b64encode(secrets.token_bytes(12)).decode()
            sent = sign(key, payload | {"expiresAt": now + LIFETIME_MS, "nonce": nonce})
        answer = ask(f"{beacon.rstrip('/')}/announce", {"community": community, "ticket": sent})
        peers = answer["peers"] if isinstance(answer.get("peers"), list) else []
        for payload in (peer["payload"] for peer in peers[:200] if is_good(peer, community, clock())):
            print("present:", json.dumps([payload["peerId"], payload["userId"], payload.get("data")]), flush=True)
        is_listed = answer.get("ok") is True and answer.get("listed", True) is True
        print("listed" if is_listed else f"not listed: {json.dumps(answer.get('code', 'no answer, or no place'))}", flush=True)
        sent, failures = None if answer else sent, 0 if is_listed else failures + 1
        wait = answer.get("announceAfterMs" if is_listed else "retryAfterMs")
        asked = min(max(wait, 1_000), 150_000) / 1_000 if type(wait) is int else 60 if is_listed else 1
        time.sleep(max(asked, min(2**min(failures, 6), 60)) * random.uniform(1, 1.1))

if __name__ == "__main__":
    if len(sys.argv) != 4: sys.exit(print(__doc__, file=sys.stderr) or 2)
    main(*sys.argv[1:])
