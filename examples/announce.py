#!/usr/bin/env python3
"""Keeps this machine announced at one beacon, and prints who else is there.

    pip install cryptography
    python3 announce.py https://beacon.example --community my-app --peer-id my-server

The rules are those of protocol/README.md: tickets (sections 2 and 3), announcing (11), the traps of JSON (13).
"""

import argparse, base64, json, os, pathlib, re, secrets, time, unicodedata, urllib.error, urllib.parse, urllib.request

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LIFETIME_MS, CLOCK_SKEW_MS, ANSWER_MAX_BYTES = 180_000, 15_000, 512 * 1024
P = 2**255 - 19
ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = {0, 1, P - 1, P, P + 1, ORDER_8, P - ORDER_8}  # OpenSSL takes any message for signed by such a key.
FIELDS = {"expiresAt": int, "issuedAt": int, "nonce": str, "peerId": str, "userId": str}
PEER_ID = re.compile(r"(?! )[ !#-%'-;=?-\[\]-~]{1,128}(?<! )")


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirects)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def base64_of(data):
    return base64.b64encode(data).decode()


def sign(seed, payload):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public_key, signature = key.public_key().public_bytes_raw(), key.sign(canonical(payload))
    envelope = {"version": 1, "algorithm": "ed25519", "payload": payload}
    return envelope | {"publicKey": base64_of(public_key), "signature": base64_of(signature)}


def is_text(text, most):
    return 1 <= len(text.encode()) <= most and not any(unicodedata.category(char) == "Cc" for char in text)


def is_good(ticket, community, now):
    """Returns whether another peer's ticket is good now. A bad one costs only itself."""
    try:
        payload, key, signature = ticket["payload"], *(bytes_of(ticket[name]) for name in ("publicKey", "signature"))
        begins, ends = payload["issuedAt"], payload["expiresAt"]
        if not all((
            len(ticket) == 5 and canonical([ticket["version"], ticket["algorithm"]]) == b'[1,"ed25519"]',
            all(type(payload[name]) is kind for name, kind in FIELDS.items()),
            set(payload) <= {*FIELDS, "community", "data"} and payload.get("community", community) == community,
            PEER_ID.fullmatch(payload["peerId"]) and 12 <= len(bytes_of(payload["nonce"])) <= 32,
            is_text(payload["userId"], 128) and is_text(payload.get("data", "none"), 512),
            0 <= begins <= now + CLOCK_SKEW_MS and now < ends < 2**53 and begins < ends <= begins + LIFETIME_MS,
            all(int.from_bytes(point, "little") % 2**255 not in SMALL_ORDER for point in (key, signature[:32])),
        )):
            return False
        Ed25519PublicKey.from_public_bytes(key).verify(signature, canonical(payload))
        return True
    except (AttributeError, InvalidSignature, KeyError, TypeError, ValueError):
        return False


def bytes_of(text):
    data = base64.b64decode(text, validate=True)
    if base64_of(data) != text:
        raise ValueError("one value has one spelling")
    return data


def read(text):
    """Reads JSON. An object with two equal keys is none."""
    return json.loads(text, object_pairs_hook=lambda pairs: dict(pairs) if len(dict(pairs)) == len(pairs) else None)


def ask(url, ticket=None):
    """Returns a beacon's answer, refusals included. Raises OSError or ValueError where there is none."""
    body = None if ticket is None else b'{"ticket":' + canonical(ticket) + b"}"
    try:
        answer = OPENER.open(urllib.request.Request(url, body), timeout=10)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    with answer:
        try:
            fields = read(answer.read(ANSWER_MAX_BYTES))
        except RecursionError as error:
            raise ValueError("the answer is too deep") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("ok"), bool):
        raise ValueError("the answer is not a beacon's")
    return fields


def number(answer, name, default):
    """Returns a field, or the default where it is absent or of another type."""
    return answer[name] if type(answer.get(name)) is int and answer[name] >= 0 else default


def seed_in(file):
    """Reads the seed of this peer's key, or makes one: a peer that loses its key is another peer."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(secrets.token_bytes(32))
    return file.read_bytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("beacon", help="the beacon's URL")
    parser.add_argument("--community", default="mainnet", help="[default: %(default)s]")
    parser.add_argument("--peer-id", required=True, help="the name under which peers find this machine")
    parser.add_argument("--seed", type=pathlib.Path, default="peer.seed", help="file of the key [default: %(default)s]")
    parser.add_argument("--once", action="store_true", help="announce once, print the list, and end without leaving")
    options = parser.parse_args()
    seed, ahead, failures, issued_last, sent = seed_in(options.seed), 0, 0, 0, None
    url = lambda path: f"{options.beacon.rstrip('/')}/{path}?community={urllib.parse.quote(options.community)}"
    clock = lambda: int(time.time() * 1000) + ahead

    def ticket(**leave):
        nonlocal issued_last
        issued_last = max(clock(), issued_last + 1)
        payload = {"peerId": options.peer_id, "userId": options.peer_id, "community": options.community}
        payload |= {"issuedAt": issued_last, "expiresAt": issued_last + LIFETIME_MS}
        return sign(seed, payload | {"nonce": base64_of(secrets.token_bytes(12))} | leave)

    def try_to_ask(*request):
        nonlocal ahead
        try:
            answer = ask(*request)
        except (OSError, ValueError) as error:
            return {"ok": False, "code": "NO_ANSWER", "detail": str(error)}
        # One beacon's word is not enough to date tickets of later.
        ahead = min(ahead + number(answer, "serverTime", clock()) - clock(), CLOCK_SKEW_MS)
        return answer

    try:
        try_to_ask(url("healthz"))
        while True:
            # What was not answered may have been accepted: it is sent again, while it is not old.
            sent = sent if sent and clock() < sent["payload"]["issuedAt"] + LIFETIME_MS / 2 else ticket()
            answer = try_to_ask(url("announce"), sent)
            # These three say nothing about the ticket.
            sent = sent if answer.get("code") in ("NO_ANSWER", "THROTTLED", "INTERNAL") else None
            failures = 0 if answer["ok"] else failures + 1
            peers = answer.get("peers") if isinstance(answer.get("peers"), list) else []
            for payload in (peer["payload"] for peer in peers[:200] if is_good(peer, options.community, clock())):
                print("present:", json.dumps([payload["peerId"], payload["userId"], payload.get("data")]), flush=True)
            listed = answer["ok"] and answer.get("listed", True) is True
            print("listed" if listed else f"not listed: {json.dumps(answer.get('code', 'no place'))}", flush=True)
            if options.once:
                return 0 if listed else 1
            back_off = min(2 ** min(failures, 6), 60) * (0.5 + secrets.randbelow(1000) / 2000)
            asked = min(number(answer, "retryAfterMs", 0), 300_000) / 1000
            pace = number(answer, "announceAfterMs", 60_000) / 1000 * (1 + secrets.randbelow(1000) / 10_000)
            time.sleep(max(back_off, asked) if failures else min(max(pace, 1), LIFETIME_MS / 1000 * 5 / 6))
    except KeyboardInterrupt:
        answer = try_to_ask(url("leave"), ticket(leave=True))
        print("left" if answer.get("left") is True else "was not listed there", flush=True)
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
