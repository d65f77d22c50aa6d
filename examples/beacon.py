#!/usr/bin/env python3
"""A beacon in one file: tickets, the roster and HTTP, in memory.

    pip install cryptography
    python3 beacon.py --port 8787

A second implementation, written from protocol/README.md (sections 1 to 4, and 13) and the README's HTTP tables alone.
Without live presence, mailboxes and storage. Behind a proxy, --address-header names where that sets the client's address.
"""

import argparse, base64, collections, contextlib, hashlib, http.server, ipaddress, json, random, re, secrets, threading
import time, unicodedata, urllib.parse

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VERSION = "0.1.0"
LIFETIME_MS, CLOCK_SKEW_MS, INTERVAL_MS, PACE_MS = 180_000, 15_000, 45_000, (45_000, 75_000)
ROSTER_PLACES, ANSWER_PLACES, MOMENT_MS, EPOCH_MS, ROSTERS = 200, 50, 5_000, 600_000, 10_000
BODY_BYTES, POLITE_BYTES, BODY_SECONDS, IDLE_SECONDS, CONNECTIONS = 4_096, 65_536, 10, 75, 256
ADDRESS_PER_MINUTE, HOUSEHOLD_PER_MINUTE, SITE_PER_MINUTE, BUCKETS = 150, 600, 2_400, 4_096

P = 2**255 - 19
ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# The points of small order, whatever their sign bit: OpenSSL takes any message for signed by such a key.
SMALL_ORDER = {0, 1, P - 1, P, P + 1, ORDER_8, P - ORDER_8}

NAME, KEY = re.compile(r"[A-Za-z0-9._-]{1,64}"), re.compile(r"[A-Za-z0-9+/]{43}=")
PEER_ID = re.compile(r"(?! )[ !#-%'-;=?-\[\]-~]{1,128}(?<! )")
STATUS = {
    400: "MALFORMED UNSUPPORTED_VERSION UNSUPPORTED_ALGORITHM COMMUNITY_INVALID COMMUNITY_MISMATCH LIFETIME_TOO_LONG "
         "NOT_YET_VALID EXPIRED LIMIT_INVALID",
    403: "SIGNATURE_INVALID REVOKED_PUBLIC_KEY", 404: "NOT_FOUND COMMUNITY_UNKNOWN", 405: "METHOD_NOT_ALLOWED",
    408: "BODY_TIMEOUT", 409: "STALE_TICKET", 413: "BODY_TOO_LARGE", 429: "ANNOUNCE_TOO_SOON THROTTLED",
}
STATUS = {code: status for status, codes in STATUS.items() for code in codes.split()}


class Refusal(Exception):
    """Says why something is refused. `fields` are what a client needs to go on."""

    def __init__(self, code, detail, **fields):
        super().__init__(detail)
        self.code, self.detail, self.fields = code, detail, fields


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_json(text):
    """Reads JSON in which no key stands twice and every number is a plain integer. Raises ValueError or TypeError."""

    def unique(pairs):
        if len(fields := dict(pairs)) != len(pairs):
            raise ValueError("a key stands twice")
        return fields

    integer = lambda text: int(re.fullmatch(r"0|[1-9][0-9]{0,15}", text)[0])
    return json.loads(text, object_pairs_hook=unique, parse_int=integer, parse_float=integer, parse_constant=integer)


def bytes_of(text, name, least, most):
    """Reads strict base64: one value has one spelling."""
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:
        data = None
    if data is None or base64.b64encode(data).decode() != text or not least <= len(data) <= most:
        raise Refusal("MALFORMED", f"{name} must be base64 of {least} to {most} bytes")
    return data


def is_text(text, most):
    fits = isinstance(text, str) and 1 <= len(text.encode(errors="surrogatepass")) <= most
    # Controls, and halves of surrogate pairs, which have no UTF-8.
    return fits and not any(unicodedata.category(char) in ("Cc", "Cs") for char in text)


class Ticket:
    """A ticket of the right shape. `check` says whether it is good."""

    FIELDS = {"algorithm", "payload", "publicKey", "signature", "version"}
    REQUIRED = {"expiresAt", "issuedAt", "nonce", "peerId", "userId"}

    def __init__(self, value, is_goodbye):
        def demand(holds, detail):
            if not holds:
                raise Refusal("MALFORMED", detail)

        demand(isinstance(value, dict) and set(value) == self.FIELDS, "a ticket has a field too few or too many")
        payload = value["payload"]
        optional = {"community", "leave"} if is_goodbye else {"community", "data"}
        demand(isinstance(payload, dict), "payload must be an object")
        demand(self.REQUIRED <= set(payload) <= self.REQUIRED | optional, "payload has a field too few or too many")
        demand(not is_goodbye or payload.get("leave") is True, "payload.leave must be true in a ticket to leave")
        demand(isinstance(payload["peerId"], str) and PEER_ID.fullmatch(payload["peerId"]), "payload.peerId is not one")
        demand(is_text(payload["userId"], 128), "payload.userId must be 1 to 128 bytes without control characters")
        demand(is_text(payload.get("data", "-"), 512), "payload.data must be 1 to 512 bytes without control characters")
        community = payload.get("community", "-")
        demand(isinstance(community, str) and NAME.fullmatch(community), "payload.community is not a name")
        begins, ends = payload["issuedAt"], payload["expiresAt"]
        demand(type(begins) is type(ends) is int and 0 <= begins < ends < 2**53, "times must be integers, and in order")
        bytes_of(payload["nonce"], "payload.nonce", 12, 32)
        self.key = bytes_of(value["publicKey"], "publicKey", 32, 32)
        self.signature = bytes_of(value["signature"], "signature", 64, 64)
        demand(type(value["version"]) is int and isinstance(value["algorithm"], str), "version or algorithm is not one")
        self.value, self.community, self.text = value, payload.get("community"), canonical(value)
        self.issued_at, self.expires_at, self.claim = begins, ends, (payload["peerId"], value["publicKey"])

    def check(self, community, now, revoked):
        """Checks all but the shape, in the order of section 3."""
        for is_wrong, code, detail in (
            (self.value["version"] != 1, "UNSUPPORTED_VERSION", "version must be 1"),
            (self.value["algorithm"] != "ed25519", "UNSUPPORTED_ALGORITHM", "algorithm must be ed25519"),
            (self.community not in (None, community), "COMMUNITY_MISMATCH", f"the ticket is not for {community}"),
            (self.expires_at - self.issued_at > LIFETIME_MS, "LIFETIME_TOO_LONG", f"a ticket lives {LIFETIME_MS} ms"),
            (self.issued_at > now + CLOCK_SKEW_MS, "NOT_YET_VALID", f"issuedAt is more than {CLOCK_SKEW_MS} ms ahead"),
            (self.expires_at <= now, "EXPIRED", "the ticket has expired"),
            (self.value["publicKey"] in revoked, "REVOKED_PUBLIC_KEY", "the key is revoked"),
        ):
            if is_wrong:
                raise Refusal(code, detail)
        try:
            # The library refuses S that is not below L, and checks the equation without its cofactor.
            if any(int.from_bytes(point, "little") % 2**255 in SMALL_ORDER for point in (self.key, self.signature[:32])):
                raise InvalidSignature
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signature, canonical(self.value["payload"]).encode())
        except (InvalidSignature, ValueError):
            raise Refusal("SIGNATURE_INVALID", "the signature is not one over the payload by this key") from None


Path = collections.namedtuple("Path", "share site household provider")


def networks_of(address, of_ipv4, of_ipv6):
    """Returns the networks of an address with these prefixes, as texts. All without an address are in one."""
    try:
        address = ipaddress.ip_address(address)
    except ValueError:
        return ["none"] * len(of_ipv4)
    address = getattr(address, "ipv4_mapped", None) or address
    lengths = of_ipv4 if address.version == 4 else of_ipv6
    return [str(ipaddress.ip_network((address, length), strict=False)) for length in lengths]


class Place:
    """What is remembered of a claim: that it is listed, or that it has gone."""

    def __init__(self, claim, issued_at, path, now, since, order):
        self.claim, self.issued_at, self.path, self.brought_at = claim, issued_at, path, now
        self.since, self.order, self.tenure = since, order, (since or 0, order)
        self.ticket = self.accepted_at = self.returned_at = self.may_return = None


class Roster:
    """Who is present in one community. Every method is told the time, and is called by one thread at a time."""

    def __init__(self):
        self.secret = secrets.token_bytes(16)
        self.listed, self.gone, self.order = {}, {}, 0

    def path(self, address):
        provider, site, household = map(self.hash, networks_of(address, (16, 24, 32), (29, 48, 56)))
        return Path(self.share(provider, site, ROSTER_PLACES), site, household, provider)

    def hash(self, *what):
        return int.from_bytes(hashlib.blake2b(repr(what).encode(), key=self.secret, digest_size=8).digest(), "big")

    def share(self, provider, site, places, seed=""):
        """Folds a provider's sites into as many shares as are a quarter of the places."""
        return provider, self.hash(seed, site) % max(1, places // 4)

    def rank(self, place, name, now):
        """Nobody can choose a rank. Its epoch begins at another moment for each provider."""
        return self.hash(name, (now + self.hash("epoch", place.path.provider) % EPOCH_MS) // EPOCH_MS)

    def expire(self, now):
        for claim in [claim for claim, place in self.listed.items() if place.ticket.expires_at <= now]:
            place = self.listed.pop(claim)
            place.since = None
            self.remember(place, now)
        until = lambda place: max(place.issued_at + LIFETIME_MS, (place.accepted_at or 0) + INTERVAL_MS)
        self.gone = {claim: place for claim, place in self.gone.items() if now < until(place)}

    def remember(self, place, now):
        """Keeps what is gone until no older ticket can be good. Goodbyes of the unlisted go first: they are free to make."""
        place.ticket = None
        self.gone[place.claim] = place
        if len(self.gone) > ROSTER_PLACES:
            unlisted = [other for other in self.gone.values() if other.accepted_at is None]
            del self.gone[self.payer(unlisted or list(self.gone.values()), lambda _: True, now).claim]

    def announce(self, ticket, path, now):
        """Returns whether the ticket is new, and whether its claim is listed."""
        self.expire(now)
        place = self.listed.get(ticket.claim)
        known = place or self.gone.get(ticket.claim)
        if place and place.ticket.text == ticket.text:
            self.bring(place, path, now)
            return False, True
        if known and ticket.issued_at <= known.issued_at:
            raise Refusal("STALE_TICKET", f"issuedAt must exceed {known.issued_at}", listed=bool(place))
        if place:
            self.bring(place, path, now)
        wait = known.accepted_at + INTERVAL_MS - now if known and known.accepted_at and not known.may_return else 0
        if wait > 0:
            detail = f"a new ticket is accepted in {wait} ms"
            raise Refusal("ANNOUNCE_TOO_SOON", detail, listed=bool(place), retryAfterMs=wait)
        self.order += 1
        if place is None:
            since = known.since if known and known.since is not None else now
            place = Place(ticket.claim, ticket.issued_at, path, now, since, self.order)
            if known and known.may_return:
                place.returned_at = now
            if not self.make_room(place, now):
                return False, False
            self.gone.pop(ticket.claim, None)
            self.listed[ticket.claim] = place
        place.ticket, place.issued_at, place.accepted_at, place.order = ticket, ticket.issued_at, now, self.order
        return True, True

    def leave(self, ticket, path, now):
        """Returns whether the claim was listed until now."""
        self.expire(now)
        place = self.listed.get(ticket.claim)
        if place and ticket.issued_at <= place.issued_at:
            return False
        if place:
            del self.listed[ticket.claim]
            place.may_return = place.returned_at is None or now >= place.returned_at + INTERVAL_MS
        else:
            place = self.gone.get(ticket.claim) or Place(ticket.claim, 0, path, now, None, 0)
        was_listed = place.ticket is not None
        place.issued_at = max(place.issued_at, ticket.issued_at)
        self.remember(place, now)
        return was_listed

    def bring(self, place, path, now):
        """Rule 4: who brings a ticket is not who made it."""
        if path.household == place.path.household:
            place.brought_at = now
            return
        others = [other for other in self.listed.values() if other is not place]
        level = next(level for level in range(3) if path[level] != place.path[level])
        there = lambda path, at=level: [other for other in others if other.path[at] == path[at]]
        is_longest = lambda path: all(other.tenure > place.tenure for other in there(path, 0))
        may_move = level > 0 or not is_longest(place.path) or is_longest(path)
        if may_move and len(there(path)) < len(there(place.path)) or now - place.brought_at >= LIFETIME_MS:
            place.path, place.brought_at = path, now

    def make_room(self, newcomer, now):
        """Rule 5. Returns whether there is a place for the newcomer."""
        if len(self.listed) < ROSTER_PLACES:
            return True
        everybody = [*self.listed.values(), newcomer]
        longest, sizes = {}, collections.Counter()
        for place in sorted(everybody, key=lambda place: place.tenure):
            longest.setdefault(place.path.share, place)
            sizes[place.path.share] += 1
        safe = list(longest.values())[: ROSTER_PLACES // 4]
        is_spared = lambda place, share: longest[share] is place and sizes[share] > 1
        payer = self.payer(everybody, lambda place: place not in safe and not is_spared(place, place.path.share), now)
        if payer is not newcomer:
            del self.listed[payer.claim]
        return payer is not newcomer

    def payer(self, places, may_go, now, levels=(0, 1, 2)):
        """Returns the place that goes: in the largest share, there in the largest site, there in the largest household."""
        if not levels:
            return max(filter(may_go, places), key=lambda place: place.tenure, default=None)
        groups = collections.defaultdict(list)
        for place in places:
            groups[place.path[levels[0]]].append(place)
        largest = sorted(groups, key=lambda name: (len(groups[name]), self.rank(groups[name][0], name, now)), reverse=True)
        found = (self.payer(groups[name], may_go, now, levels[1:]) for name in largest)
        return next((place for place in found if place), None)

    def answer(self, most, now, without=lambda claim: False, caller=""):
        """Rule 6. Returns the places of an answer."""
        self.expire(now)
        places = [place for claim, place in self.listed.items() if not without(claim)]
        if len(places) <= most:
            return sorted(places, key=lambda place: place.order, reverse=True)
        seed = self.hash("draw", now // MOMENT_MS, caller)
        draw, shares = random.Random(seed), collections.defaultdict(list)
        for place in sorted(places, key=lambda place: place.tenure):
            shares[self.share(place.path.provider, place.path.site, most, seed)].append(place)
        # Those present longest, one a share: that is the share's first turn.
        first = list(shares)[: max(1, most // 4)]
        chosen = [shares[share].pop(0) for share in first]
        drawn = list(shares)
        draw.shuffle(drawn)
        turns = {share: self.turns(shares[share], draw) for share in drawn}
        turn = [share for share in drawn if share not in first]
        while len(chosen) < most:
            dealt = [next(turns[share], None) for share in turn[: most - len(chosen)]]
            chosen += filter(None, dealt)
            turn = drawn if len(turn) <= len(dealt) else turn[len(dealt):]
        draw.shuffle(chosen)
        return chosen

    @staticmethod
    def turns(places, draw):
        """Yields a share's places: its sites take turns, and inside a site the place is drawn."""
        sites = collections.defaultdict(list)
        for place in places:
            sites[place.path.site].append(place)
        sites = list(sites.values())
        draw.shuffle(sites)
        for site in sites:
            draw.shuffle(site)
        while sites := [site for site in sites if site]:
            for site in sites:
                yield site.pop()


class RateLimits:
    """Counts requests by address (in IPv6 a /64), household (in IPv4 a /24) and /48. Memory is bounded: the oldest go."""

    def __init__(self):
        self.buckets = collections.OrderedDict()

    def wait(self, address, now):
        """Takes one request, or returns for how many milliseconds there is none."""
        networks, levels = networks_of(address, (24, 24, 32), (48, 56, 64)), {}
        limits = dict(zip(networks, (SITE_PER_MINUTE, HOUSEHOLD_PER_MINUTE, ADDRESS_PER_MINUTE)))
        for network, most in limits.items():
            level, at = self.buckets.pop(network, (most, now))
            levels[network] = min(most, level + (now - at) * most / 60_000)
        wait = max((1 - level) * 60_000 / limits[network] for network, level in levels.items())
        for network, level in levels.items():
            self.buckets[network] = (level if wait > 0 else level - 1, now)
        while len(self.buckets) > BUCKETS:
            self.buckets.popitem(last=False)
        return int(wait) + 1 if wait > 0 else 0


class Beacon:
    """The service: a request becomes an answer. One lock is enough for one machine's community."""

    def __init__(self, options):
        self.options, self.lock, self.rosters, self.limits = options, threading.Lock(), {}, RateLimits()

    def roster(self, community):
        """Returns the roster of a community that is served. Where there are too many, empty ones are forgotten."""
        if len(self.rosters) >= ROSTERS and community not in self.rosters:
            for roster in self.rosters.values():
                roster.expire(clock())
            self.rosters = {name: roster for name, roster in self.rosters.items() if roster.listed or roster.gone}
            if len(self.rosters) >= ROSTERS:
                raise Refusal("THROTTLED", "there are too many communities", retryAfterMs=6_000)
        return self.rosters.setdefault(community, Roster())

    def community(self, query, body=None):
        """Returns the community that is asked for: the query's, the body's, or the default one."""
        named = [name for name in (query.get("community"), body) if name is not None]
        for name in named:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise Refusal("COMMUNITY_INVALID", "a community is 1 to 64 of A-Z a-z 0-9 . _ -")
        if len(set(named)) > 1:
            raise Refusal("COMMUNITY_MISMATCH", "the query and the body name two communities")
        default = self.options.communities[0]
        community = named[0] if named else "mainnet" if default == "*" else default
        if "*" not in self.options.communities and community not in self.options.communities:
            raise Refusal("COMMUNITY_UNKNOWN", f"{community} is not served here")
        return community

    def list(self, community, now, most=ANSWER_PLACES, without=lambda claim: False, caller=""):
        places = self.roster(community).answer(most, now, without, caller)
        return {"since": [place.since for place in places], "peers": [place.ticket.value for place in places]}

    def limit(self, address, now):
        if wait := self.limits.wait(address, now):
            raise Refusal("THROTTLED", f"too many requests from this network: again in {wait} ms", retryAfterMs=wait)

    def post(self, query, data, address, is_goodbye):
        """Answers an announce or a goodbye."""
        community, ticket, now = None, None, clock()
        without = lambda claim: ticket is not None and claim == ticket.claim
        try:
            community = self.community(query)
            self.limit(address, now)
            value, named = self.body(data)
            community = self.community(query, named)
            roster = self.roster(community)
        except Refusal as refusal:
            return self.problem(refusal, community, clock())
        try:
            ticket, now = Ticket(value, is_goodbye), clock()
            ticket.check(community, now, self.options.revoked)
            if is_goodbye:
                return 200, {"ok": True, "left": roster.leave(ticket, roster.path(address), now), "serverTime": now}
            accepted, listed = roster.announce(ticket, roster.path(address), now)
            return 200, {
                "ok": True, "accepted": accepted, "listed": listed, "community": community, "serverTime": now,
                "expiresAt": ticket.expires_at, "announceAfterMs": random.randint(*PACE_MS), "total": len(roster.listed),
                **self.list(community, now, without=without, caller=ticket.claim),
            }
        except Refusal as refusal:
            status, problem = self.problem(refusal, community, now, without)
            payload = value.get("payload") if isinstance(value, dict) else None
            # Clients that sign no community take every status but 2xx for an outage.
            if is_goodbye or isinstance(payload, dict) and "community" in payload:
                return status, problem
            return 200, {name: field for name, field in problem.items() if name not in ("type", "title", "status")}

    @staticmethod
    def body(data):
        """Reads the body of a POST: a ticket, of whatever shape, and the community that is named beside it."""
        if isinstance(data, Refusal):
            raise data
        try:
            body = read_json(data.decode())
        except (TypeError, ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or "ticket" not in body or not set(body) <= {"ticket", "community"}:
            raise Refusal("MALFORMED", "the body must be one JSON object of a ticket and, maybe, a community")
        if "community" in body and not isinstance(body["community"], str):
            raise Refusal("MALFORMED", "community in the body must be a text")
        return body["ticket"], body.get("community")

    def problem(self, refusal, community, now, without=lambda claim: False):
        status = STATUS[refusal.code]
        known = community is not None and refusal.code not in ("COMMUNITY_INVALID", "COMMUNITY_UNKNOWN", "LIMIT_INVALID")
        return status, {
            "type": "about:blank", "title": refusal.code.replace("_", " ").capitalize(), "status": status,
            "detail": refusal.detail, "ok": False, "code": refusal.code, "serverTime": now, **refusal.fields,
            **(self.list(community, now, without=without) if known else {"since": [], "peers": []}),
            "validation": {"ok": False, "reason": refusal.code},
        }

    def peers(self, query, address, if_none_match):
        """Answers who is present. Returns its entity tag too, and no fields where the client has them already."""
        now, community = clock(), self.community(query)
        self.limit(address, now)
        limit = query.get("limit", str(ANSWER_PLACES))
        if not re.fullmatch(r"[0-9]{1,9}", limit) or int(limit) == 0:
            raise Refusal("LIMIT_INVALID", "limit must be an integer from 1")
        peer_id, separator, key = query.get("exclude", "").rpartition(":")
        without = lambda claim: claim == (peer_id, key) or claim[0] == query.get("exclude")
        excerpt = self.list(community, now, min(int(limit), ANSWER_PLACES), without)
        excerpt["total"] = len(self.roster(community).listed)
        tag = hashlib.sha256(canonical(excerpt).encode()).hexdigest()[:24]
        known = {known.strip().removeprefix("W/") for known in if_none_match.split(",")}
        fields = {"ok": True, "community": community, "serverTime": now, **excerpt}
        return None if known & {"*", f'"{tag}"'} else fields, f'W/"{tag}"'

    def info(self):
        return {
            "ok": True, "software": "beacon.py", "version": VERSION, "serverTime": clock(), "operator": {},
            "showsPeers": False, "communities": [], "beacons": [], "capsules": [], "capsuleKeys": [],
            "limits": {"ticketMaxLifetimeMs": LIFETIME_MS, "announceIntervalMs": INTERVAL_MS, "answerLimit": ANSWER_PLACES},
            "endpoints": [{"method": method, "path": path} for path, method in Handler.METHODS.items()],
        }


def clock():
    return time.time_ns() // 1_000_000


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1: one thread a connection, of which there are at most CONNECTIONS."""

    METHODS = {"/announce": "POST", "/leave": "POST", "/peers": "GET", "/healthz": "GET", "/": "GET",
               "/.well-known/rendezvous-beacon": "GET"}
    protocol_version, timeout, wbufsize, disable_nagle_algorithm = "HTTP/1.1", IDLE_SECONDS, 65_536, True

    log_message = lambda *_: None  # A line for a request would have the client's address in it.

    def serve(self):
        beacon, (path, _, query) = self.server.beacon, self.requestline.split()[1].partition("?")
        name = beacon.options.address_header
        address = self.headers.get(name, "").rsplit(",", 1)[-1].strip() if name else self.client_address[0]
        try:
            query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=16))
        except ValueError:
            query = {"community": ""}
        try:
            data = self.body()
        except TimeoutError:
            data = Refusal("BODY_TIMEOUT", f"the body took more than {BODY_SECONDS} s")
        except (TypeError, ValueError):
            data = Refusal("MALFORMED", "the body is not what the head says")
        self.close_connection |= isinstance(data, Refusal)
        with beacon.lock:
            try:
                answer = self.route(beacon, path, query, data, address)
            except Refusal as refusal:
                answer = self.refuse(*beacon.problem(refusal, None, clock()))
        # Whoever does not read keeps nobody waiting.
        self.answer(*answer)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = serve

    def route(self, beacon, path, query, data, address):
        """Returns the status, the content and the headers of the answer."""
        if self.command == "OPTIONS":
            allow = {"Methods": "GET, POST, OPTIONS", "Headers": "*, Authorization"}
            return 204, None, {f"Access-Control-Allow-{what}": which for what, which in allow.items()}
        if path not in self.METHODS:
            raise Refusal("NOT_FOUND", "there is no such path")
        allowed = ("POST",) if self.METHODS[path] == "POST" else ("GET", "HEAD")
        if self.command not in allowed:
            refusal = Refusal("METHOD_NOT_ALLOWED", f"this path takes {' and '.join(allowed)}")
            return self.refuse(*beacon.problem(refusal, None, clock()), {"Allow": ", ".join((*allowed, "OPTIONS"))})
        if self.command == "POST":
            status, fields = beacon.post(query, data, address, path == "/leave")
            return (status, fields, {}) if fields["ok"] else self.refuse(status, fields)
        if path == "/healthz":
            return 200, {"ok": True, "version": VERSION, "serverTime": clock()}, {}
        if path == "/peers":
            fields, tag = beacon.peers(query, address, self.headers.get("If-None-Match", ""))
            cache = {"ETag": tag, "Cache-Control": f"public, max-age={beacon.options.max_age}"}
            return 304 if fields is None else 200, fields, cache
        accept = self.headers.get("Accept", "")
        if path == "/" and ("text/html" in accept or "application/json" not in accept):
            page = "<!doctype html><title>A beacon</title>GET /peers"
            return 200, page, {"Content-Type": "text/html; charset=utf-8", "Vary": "Accept"}
        return 200, beacon.info(), {"Vary": "Accept"}

    def refuse(self, status, problem, headers={}):
        if "retryAfterMs" in problem:
            headers = headers | {"Retry-After": str(-(-problem["retryAfterMs"] // 1_000))}
        media = "application/json" if status == 200 else "application/problem+json"
        return status, problem, headers | {"Content-Type": f"{media}; charset=utf-8"}

    def answer(self, status, content, headers):
        body = b"" if content is None else (content if isinstance(content, str) else canonical(content)).encode()
        all_have = {"Date": self.date_time_string(), "Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff",
                    "Access-Control-Expose-Headers": "ETag, Retry-After", "Cache-Control": "no-store"}
        if status not in (204, 304):
            all_have |= {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
        all_have |= {"Connection": "close"} if self.close_connection else {}
        self.send_response_only(status)
        for header in (all_have | headers).items():
            self.send_header(*header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        """Reads the body: all of it, or as much as shows that it is too long. What is not so raises an error."""
        until, data, polite = time.monotonic() + BODY_SECONDS, b"", POLITE_BYTES

        def read(how, most):
            self.connection.settimeout(max(0.001, until - time.monotonic()))
            if part := how(most):
                return part
            raise ValueError("the client went away")

        is_chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        left = 0 if is_chunked else int(re.fullmatch("[0-9]{1,12}", self.headers.get("Content-Length", "0"))[0])
        while left > 0 or is_chunked:
            if left == 0:
                left = int(re.match(rb"[0-9A-Fa-f]{1,8}", read(self.rfile.readline, 64))[0], 16)
                if left == 0 and read(self.rfile.readline, 64):
                    break
            part = read(self.rfile.read1, min(left, 16_384))
            data, left, polite = (data + part)[: BODY_BYTES + 1], left - len(part), polite - len(part)
            if is_chunked and left == 0:
                read(self.rfile.readline, 3)
            if polite < 0:
                self.close_connection = True
                break
        self.connection.settimeout(IDLE_SECONDS)
        return data if len(data) <= BODY_BYTES else Refusal("BODY_TOO_LARGE", f"a body has {BODY_BYTES} bytes at most")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def process_request(self, request, client_address):
        if threading.active_count() > CONNECTIONS:
            return self.shutdown_request(request)
        super().process_request(request, client_address)

    handle_error = lambda *_: None  # Clients go away.


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="[default: %(default)s]")
    parser.add_argument("--port", type=int, default=8787, help="0 for one that is free [default: %(default)s]")
    # What does not fit is an error of the parser's.
    name, key = lambda text: text if text == "*" else NAME.fullmatch(text)[0], lambda text: KEY.fullmatch(text)[0]
    parser.add_argument("--community", dest="communities", action="append", type=name, help="one that is served; * for all")
    parser.add_argument("--revoked", action="append", default=[], type=key, help="a public key whose tickets are refused")
    parser.add_argument("--max-age", type=int, default=5, help="seconds for which caches keep a list [default: %(default)s]")
    parser.add_argument("--address-header", help="the header in which a proxy sets the client's address")
    options = parser.parse_args()
    options.communities = options.communities or ["mainnet"]
    with Server((options.host, options.port), Handler) as server, contextlib.suppress(KeyboardInterrupt):
        server.beacon = Beacon(options)
        print(f"listening on http://{options.host}:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
