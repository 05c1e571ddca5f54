// What JupyterLab itself makes of kernel messages: its real kernel connection and its real output areas,
// as when a browser runs cells without a server that does it.
//
// One JSON object a line on standard input, one answer a line on standard output:
//
//   {"cells": 2, "messages": [...]}   the messages as a kernel's websocket brings them; their parents'
//                                     msg_id is "cell 0", "cell 1", ...
//
// The answer has "outputs", what each cell shows in the end, and "errors", what was thrown.

import './browser.mjs';
import { createInterface } from 'node:readline';

const { OutputArea } = await import('@jupyterlab/outputarea/lib/widget.js');
const { OutputAreaModel } = await import('@jupyterlab/outputarea/lib/model.js');
const { KernelConnection } = await import('@jupyterlab/services/lib/kernel/default.js');
const { ServerConnection } = await import('@jupyterlab/services/lib/serverconnection.js');

console.debug = () => {};
let errors = [];
console.error = (...words) => errors.push(words.map(word => word?.stack ?? String(word)).join(' '));

class Socket {
  constructor() {
    Socket.last = this;
    this.protocol = '';
  }
  send() {}
  close() {}
}

// Models are what is looked at; nothing needs to be drawn.
const rendermime = { preferredMimeType: () => undefined };

async function outputsOf({ cells, messages }) {
  errors = [];
  const kernel = new KernelConnection({
    model: { id: 'kernel', name: 'python3' },
    serverSettings: ServerConnection.makeSettings({ WebSocket: Socket })
  });
  const socket = Socket.last;
  const futures = new Map();
  const areas = [];
  for (let cell = 0; cell < cells; cell++) {
    // As OutputArea.execute does.
    const area = new OutputArea({ model: new OutputAreaModel({ trusted: true }), rendermime });
    area.future = kernel.requestExecute({ code: '' }, false);
    futures.set(`cell ${cell}`, area.future);
    areas.push(area);
  }
  let handled;
  const last = new Promise(resolve => (handled = resolve));
  kernel.iopubMessage.connect((_, message) => message.header.msg_id === 'last' && handled());
  for (const message of messages) {
    if (message.header.msg_type === 'comm_open') {
      kernel.registerCommTarget(message.content.target_name, () => {}); // as an extension does
    }
    const parent_header = futures.get(message.parent_header.msg_id).msg.header;
    socket.onmessage({ data: JSON.stringify({ ...message, parent_header }) });
  }
  const { header } = messages[0];
  const end = { ...messages[0], header: { ...header, msg_id: 'last', msg_type: 'status' }, parent_header: {} };
  socket.onmessage({ data: JSON.stringify({ ...end, channel: 'iopub', content: { execution_state: 'idle' } }) });
  await last;
  const outputs = areas.map(area => area.model.toJSON());
  areas.forEach(area => area.dispose());
  kernel.dispose();
  return { outputs, errors };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await outputsOf(JSON.parse(line))) + '\n');
}

process.exit(0); // the pretended browser has timers that would keep Node alive
