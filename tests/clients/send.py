# aiosmtplib: ten messages at the same time, with STARTTLS and a login.
import asyncio
import ssl
import sys
from email.message import EmailMessage

import aiosmtplib


async def send(number):
    message = EmailMessage()
    message["From"] = "ann@example.org"
    message["To"] = "bob@example.net"
    message["Subject"] = f"n{number}"
    message.set_content(".\n..\nFrom me\nGr\u00fcezi\n")
    context = ssl.create_default_context(cafile="cert.pem")
    errors, _ = await aiosmtplib.send(
        message, hostname="localhost", port=int(sys.argv[1]), start_tls=True,
        tls_context=context, username="ann", password="s3cret", timeout=25)
    assert not errors, errors


async def main():
    await asyncio.gather(*(send(number) for number in range(10)))

asyncio.run(main())
