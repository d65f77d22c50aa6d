"""A real server for mail, aiosmtpd, as the tests of registration need one: STARTTLS, a login, and mailboxes that do not work.

It prints a line of JSON once it listens, and one for each mail that it has taken or refused. What stands before the @ says
what becomes of a mail: `refused…` never gets one, `later…` gets one at the second try.
"""

import asyncio
import json
import ssl
import sys
import warnings
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult

# Of the library's own inside.
warnings.simplefilter("ignore", DeprecationWarning)

CERTIFICATE, KEY, USERNAME, PASSWORD = sys.argv[1:]


def say(**line):
    print(json.dumps(line), flush=True)


class Handler:
    def __init__(self):
        self.deferred = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            say(refused=address)
            return f"550 5.1.1 <{address}>: nobody here"
        if address.startswith("later") and address not in self.deferred:
            self.deferred.add(address)
            say(deferred=address)
            return f"451 4.7.1 <{address}>: come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.original_content, policy=policy.default)
        say(
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            headers=[[name, str(value)] for name, value in mail.items()],
            text=mail.get_content(),
            tls=session.ssl is not None,
            login=session.authenticated,
            greeting=session.host_name,
        )
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    fits = (data.login.decode(), data.password.decode()) == (USERNAME, PASSWORD)
    return AuthResult(success=fits, handled=False)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE, KEY)
    handler = Handler()

    def connect():
        return SMTP(handler, hostname="localhost", tls_context=context, require_starttls=True, auth_required=True,
                    authenticator=authenticate)

    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    say(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
