// Lets JupyterLab's own output model combine the messages of one stream.
//
// One JSON list of texts a line on standard input, one JSON string a line on standard output: the text of the output.

import './browser.mjs';
import { createInterface } from 'node:readline';

const { OutputAreaModel } = await import('@jupyterlab/outputarea/lib/model.js');

for await (const line of createInterface({ input: process.stdin })) {
  const model = new OutputAreaModel();
  for (const text of JSON.parse(line)) {
    model.add({ output_type: 'stream', name: 'stdout', text });
  }
  process.stdout.write(JSON.stringify(model.length ? model.get(0).streamText.text : '') + '\n');
  model.dispose();
}

process.exit(0); // the pretended browser has timers that would keep Node alive
