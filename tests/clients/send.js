// nodemailer: three messages over one connection, with STARTTLS and a login.
const fs = require('fs');
const nodemailer = require('nodemailer');

const transport = nodemailer.createTransport({
    host: 'localhost',
    port: Number(process.argv[2]),
    pool: true,
    maxConnections: 1,
    requireTLS: true,
    tls: { ca: fs.readFileSync('cert.pem') },
    auth: { user: 'ann', pass: 's3cret' },
});

(async () => {
    for (const subject of ['one', 'two', 'three']) {
        const told = await transport.sendMail({
            from: 'ann@example.org',
            to: ['bob@example.net', 'eve@example.net'],
            subject,
            text: '.\n..\nFrom me\nGr\u00fcezi\n',
            attachments: [{ filename: 'x.bin', content: Buffer.from([0, 255, 13, 10, 46, 10]) }],
        });
        console.log(told.accepted.length, told.response.split(' ').slice(0, 2).join(' '));
    }
    transport.close();
})().catch((error) => {
    console.error(error);
    process.exit(1);
});
