// What Yjs says that updates delete.
//
// One JSON object a line on standard input, one answer a line on standard output:
//
//   {"count": base64}       how much does this update delete?  {"deleted": units}
//   {"edits": [...]}        do this to a new document (see EDITS); each edit is one transaction
//                           {"updates": [[base64, units], ...]}, with what the whole document and some of the updates
//                           together are behind those of the edits

import { createInterface } from 'node:readline';
import * as Y from 'yjs';

const TYPES = [
  () => new Y.Array(),
  () => new Y.Map([['key', new Y.Text('in a map')]]),
  () => new Y.Text('some text 😀'),
  () => new Y.XmlElement('p'),
  () => new Y.XmlFragment(),
  () => new Y.XmlHook('hook'),
  () => new Y.XmlText('xml')
];

// Places and lengths may be any numbers; they are made to fit.
const EDITS = {
  insert: (doc, at, value) => doc.getArray('list').insert(place(doc.getArray('list'), at), [value, at]),
  bytes: (doc, at, length) => doc.getArray('list').insert(place(doc.getArray('list'), at), [new Uint8Array(length)]),
  bigint: (doc, at) => doc.getArray('list').insert(place(doc.getArray('list'), at), [{ big: BigInt(at), none: undefined }]),
  type: (doc, at, kind) => doc.getArray('list').insert(place(doc.getArray('list'), at), [TYPES[kind % TYPES.length]()]),
  document: (doc, at) => doc.getArray('list').insert(place(doc.getArray('list'), at), [new Y.Doc({ meta: { at } })]),
  remove: (doc, at, length) => remove(doc.getArray('list'), at, length),
  set: (doc, key, value) => doc.getMap('map').set(key, value),
  unset: (doc, key) => doc.getMap('map').delete(key),
  write: (doc, at, text) => doc.getText('text').insert(place(doc.getText('text'), at), text),
  cut: (doc, at, length) => remove(doc.getText('text'), at, length),
  format: (doc, at, length) => {
    const text = doc.getText('text');
    const start = place(text, at);
    text.format(start, Math.min(length, text.length - start), { bold: true, link: { to: 'somewhere' } });
  },
  embed: (doc, at, value) => doc.getText('text').insertEmbed(place(doc.getText('text'), at), { value })
};

function place(type, at) {
  return at % (type.length + 1);
}

function remove(type, at, length) {
  const start = place(type, at);
  type.delete(start, Math.min(length, type.length - start));
}

function counted(update) {
  let deleted = 0;
  for (const ranges of Y.decodeUpdate(update).ds.clients.values()) {
    for (const { len } of ranges) {
      deleted += len;
    }
  }
  return [Buffer.from(update).toString('base64'), deleted];
}

function play(edits) {
  const doc = new Y.Doc();
  const updates = [];
  doc.on('update', update => updates.push(update));
  for (const [name, ...values] of edits) {
    doc.transact(() => EDITS[name](doc, ...values));
  }
  const again = new Y.Doc();
  Y.applyUpdate(again, Y.encodeStateAsUpdate(doc));
  const whole = [Y.encodeStateAsUpdate(doc), Y.encodeStateAsUpdate(again)];
  // With holes, which become Skips.
  const some = updates.filter((_, index) => index % 3 !== 1);
  return [...updates, ...whole, ...(some.length ? [Y.mergeUpdates(some)] : [])].map(counted);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { count, edits } = JSON.parse(line);
  const answer =
    count === undefined
      ? { updates: play(edits) }
      : { deleted: counted(Buffer.from(count, 'base64'))[1] };
  process.stdout.write(JSON.stringify(answer) + '\n');
}
