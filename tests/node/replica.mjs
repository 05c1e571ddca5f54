// Documents of JupyterLab tabs, for simulations: each a Yjs document with JupyterLab's models on top.
//
// One JSON object a line on standard input, one answer a line on standard output. Each names its "tab" and one of:
//
//   {"make": client id}                     a tab is opened, with an empty document
//   {"apply": base64}                       it receives an update
//   {"act": name, "parameters": [...]}      its user does something (see ACTIONS)
//   {"state": true}, {"diff": base64}       its state vector; what a state vector lacks
//   {"cells": true}                         ids, types, sources and items of its cells
//   {"content": [roots]}                    all there is
//   {"close": true}
//
// Every answer has "errors", what was thrown in that tab since it was opened, and "written", the updates that the tab
// made since it was asked to act or apply something the last time (none otherwise). Places in sources count characters, not units of UTF-16.

import './browser.mjs';
import { createInterface } from 'node:readline';
import * as Y from 'yjs';
import { YNotebook } from '@jupyter/ydoc';

const { CodeCellModel } = await import('@jupyterlab/cells/lib/model.js');

const SERVER = Symbol('server');

// YCodeCell.getChanges (@jupyter/ydoc 4.2) expects that a key that was written to has changed. If somebody else's
// value, written at the same time, is the one that counts, it has not.
const KNOWN = /reading 'oldValue'/;

// What a signal's listener throws does not reach whoever emits: Lumino says it on the console.
let current = null;
console.error = (...words) => current?.errors.push(words.map(word => word?.stack ?? String(word)).join(' '));

const ACTIONS = {
  type: ({ notebook }, index, at, text) => {
    const place = units(notebook.cells[index], at);
    notebook.cells[index].updateSource(place, place, text);
  },
  erase: ({ notebook }, index, at, count) => {
    const cell = notebook.cells[index];
    cell.updateSource(units(cell, at), units(cell, at + count), '');
  },
  insert: ({ notebook }, at, id, cell_type, source) =>
    notebook.insertCell(at, { cell_type, id, source, metadata: { trusted: true } }),
  remove: ({ notebook }, index) => notebook.deleteCell(index),
  move: ({ notebook }, index, to) => notebook.moveCell(index, to),
  set_type: ({ notebook }, index, cell_type) => {
    const raw = notebook.cells[index].toJSON();
    notebook.transact(() => {
      notebook.deleteCell(index);
      raw.metadata.trusted = cell_type === 'code' ? true : undefined;
      notebook.insertCell(index, { id: raw.id, cell_type, source: raw.source, metadata: raw.metadata });
    });
  },
  clear: ({ notebook, models }, index) => {
    const model = models.get(notebook.cells[index]);
    model?.sharedModel.transact(() => model.clearExecution(), false);
  },
  undo_last: ({ notebook }) => notebook.undo(),
  redo_last: ({ notebook }) => notebook.redo(),
  wipe: ({ notebook }, id) =>
    notebook.transact(() => {
      notebook.deleteCellRange(0, notebook.cells.length);
      notebook.insertCell(0, { cell_type: 'code', id, source: '', metadata: { trusted: true } });
    }),
  say_document: ({ notebook }, name) => notebook.setState('document_id', name)
};

function units(cell, characters) {
  return Array.from(cell.getSource()).slice(0, characters).join('').length;
}

class Tab {
  constructor(clientID) {
    this.errors = [];
    this.written = [];
    this.models = new Map();
    this.notebook = new YNotebook({ disableDocumentWideUndoRedo: false });
    this.notebook.ydoc.clientID = clientID;
    this.notebook.ydoc.on('update', (update, origin) => {
      if (origin !== SERVER) {
        this.written.push(base64(update));
      }
    });
    // As CellList of @jupyterlab/notebook does: models are made when the cells arrive.
    this.notebook.changed.connect((_, change) => {
      for (const part of change.cellsChange ?? []) {
        for (const cell of part.insert ?? []) {
          if (cell.cell_type === 'code') {
            this.models.set(cell, new CodeCellModel({ sharedModel: cell }));
          }
        }
      }
    });
  }

  answer(command) {
    const { ydoc } = this.notebook;
    if (command.apply) {
      Y.applyUpdate(ydoc, Buffer.from(command.apply, 'base64'), SERVER);
    } else if (command.act) {
      ACTIONS[command.act](this, ...command.parameters);
      // The next action is another item in the history of undoing, however quickly it comes.
      this.notebook.undoManager.stopCapturing();
    } else if (command.state) {
      return { state: base64(Y.encodeStateVector(ydoc)) };
    } else if (command.diff) {
      return { diff: base64(Y.encodeStateAsUpdate(ydoc, Buffer.from(command.diff, 'base64'))) };
    } else if (command.cells) {
      const cells = this.notebook.cells.map(cell => ({
        id: cell.id,
        type: cell.cell_type,
        source: cell.getSource(),
        item: `${cell.ymodel._item.id.client}:${cell.ymodel._item.id.clock}`
      }));
      return { cells };
    } else if (command.content) {
      const content = {};
      for (const root of command.content) {
        content[root] = (root === 'cells' ? ydoc.getArray(root) : ydoc.getMap(root)).toJSON();
      }
      return { content };
    } else if (command.close) {
      for (const model of this.models.values()) {
        model.dispose();
      }
      this.notebook.dispose();
    }
    return {};
  }
}

function base64(data) {
  return Buffer.from(data).toString('base64');
}

const tabs = new Map();

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.make) {
    tabs.set(command.tab, new Tab(command.make));
  }
  current = tabs.get(command.tab);
  let answer = {};
  try {
    answer = current.answer(command);
  } catch (error) {
    if (!KNOWN.test(String(error))) {
      current.errors.push(String(error?.stack ?? error));
    }
  }
  // What a timer wrote is sent with what follows.
  const written = command.act || command.apply ? current.written.splice(0) : [];
  process.stdout.write(JSON.stringify({ ...answer, errors: current.errors, written }) + '\n');
  if (command.close) {
    tabs.delete(command.tab);
  }
}

process.exit(0); // the pretended browser has timers that would keep Node alive
