// A session with imapflow: node imapflow.js HOST PORT USER PASSWORD, with NODE_PATH set.
// It prints a line of JSON with what it has seen. "ready" on stderr: a message may come.
const { ImapFlow } = require('imapflow');
const [host, port, user, pass] = process.argv.slice(2);

async function main() {
  const c = new ImapFlow({ host, port: Number(port), secure: false, doSTARTTLS: false, auth: { user, pass }, logger: false, qresync: true });
  const seen = {};
  await c.connect();
  seen.enabled = [...c.enabled].sort();
  seen.list = (await c.list()).map((b) => b.path).sort();
  await c.mailboxOpen('INBOX');
  seen.exists = c.mailbox.exists;
  const source = await c.fetchOne('1', { source: true, envelope: true, bodyStructure: true, flags: true, uid: true });
  seen.subject = source.envelope.subject;
  seen.type = source.bodyStructure.type;
  seen.size = source.source.length;
  await c.messageFlagsAdd('1', ['\\Flagged']);
  seen.flagged = [...(await c.fetchOne('1', { flags: true })).flags];
  const more = new Promise((resolve) => c.once('exists', (e) => resolve(e.count)));
  c.idle();
  setTimeout(() => console.error('ready'), 200);
  seen.arrived = await more;
  await c.noop();
  seen.search = await c.search({ subject: 'message 2' }, { uid: true });
  seen.appended = !!(await c.append('Archive', 'Subject: from imapflow\r\n\r\nx\r\n', ['\\Seen']));
  const gone = new Promise((resolve) => c.once('expunge', () => resolve(true)));
  seen.moved = (await c.messageMove('1', 'Archive')).uidMap.size;
  seen.expunged = await gone;
  await c.mailboxClose();
  const status = await c.status('Archive', { messages: true, highestModseq: true });
  seen.archived = status.messages;
  await c.logout();
  console.log(JSON.stringify(seen));
}
main().catch((e) => { console.error(e); process.exit(1); });
