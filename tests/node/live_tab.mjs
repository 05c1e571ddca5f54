// Plays open JupyterLab tabs: their real models, fed with Yjs updates as a tab is.
//
// One JSON object a line on standard input, one answer a line on standard output:
//
//   {"open": tab, "update": base64}    a tab opens and receives the whole document
//   {"apply": tab, "update": base64}   an open tab receives an update
//   {"act": tab, "action": [...]}      its user does something (see ACTIONS)
//   {"report": tab}                    what does it show?
//   {"close": tab}
//
// With "documentWideUndo" a tab is opened as JupyterLab opens it when that setting is on.
//
// Every answer has "errors", what was thrown in that tab since it opened, and "writes", how many updates it
// made itself since then without anybody acting: a tab that only looks must make none. The answer to an act
// has "update", all that the tab wrote for it as one update, or null. A report has "cells", what the models
// show, "shared", what the tab's copy of the document says, and "order", the ids of all cells.

import './browser.mjs';
import { createInterface } from 'node:readline';
import * as Y from 'yjs';
import { YNotebook } from '@jupyter/ydoc';

const { CodeCellModel } = await import('@jupyterlab/cells/lib/model.js');

const SERVER = Symbol('server');

// What a signal's listener throws does not reach whoever emits: Lumino says it on the console.
let current = null;
console.error = (...words) => current?.errors.push(words.map(word => word?.stack ?? String(word)).join(' '));

// What a user does, as NotebookActions of @jupyterlab/notebook and the editor do it.
const ACTIONS = {
  type: (tab, id, at, remove, text) => tab.cell(id).updateSource(at, at + remove, text),
  undoTyping: (tab, id) => tab.cell(id).undo(),
  redoTyping: (tab, id) => tab.cell(id).redo(),
  undo: tab => tab.notebook.undo(),
  redo: tab => tab.notebook.redo(),
  insert: (tab, at, id, source) =>
    tab.notebook.insertCell(at, { cell_type: 'code', id, source, metadata: { trusted: true } }),
  remove: (tab, id) => tab.notebook.deleteCell(tab.position(id)),
  move: (tab, id, to) => tab.notebook.moveCell(tab.position(id), to),
  clear: (tab, id) => {
    const model = tab.models.get(tab.cell(id));
    model.sharedModel.transact(() => model.clearExecution(), false);
  },
  setType: (tab, id, cell_type) => {
    const raw = tab.cell(id).toJSON();
    const at = tab.position(id);
    tab.notebook.transact(() => {
      tab.notebook.deleteCell(at);
      raw.metadata.trusted = cell_type === 'code' ? true : undefined;
      tab.notebook.insertCell(at, { id, cell_type, source: raw.source, metadata: raw.metadata });
    });
  }
};

class Tab {
  constructor(update, documentWideUndo = true) {
    current = this;
    this.errors = [];
    this.writes = 0;
    this.acting = null;
    this.models = new Map();
    this.notebook = new YNotebook({ disableDocumentWideUndoRedo: !documentWideUndo });
    this.notebook.ydoc.on('update', (update, origin) => {
      if (origin === SERVER) {
        return;
      }
      if (this.acting) {
        this.acting.push(update);
      } else {
        this.writes++;
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
    this.apply(update);
  }

  apply(update) {
    try {
      Y.applyUpdate(this.notebook.ydoc, Buffer.from(update, 'base64'), SERVER);
    } catch (error) {
      this.errors.push(String(error?.stack ?? error));
    }
  }

  cell(id) {
    return this.notebook.cells.find(cell => cell.id === id);
  }

  position(id) {
    return this.notebook.cells.findIndex(cell => cell.id === id);
  }

  act(name, ...parameters) {
    this.acting = [];
    try {
      ACTIONS[name](this, ...parameters);
      // The next action is another item in the history of undoing, however quickly it comes.
      for (const { undoManager } of [this.notebook, ...this.notebook.cells]) {
        undoManager?.stopCapturing();
      }
    } catch (error) {
      this.errors.push(String(error?.stack ?? error));
    }
    const written = this.acting;
    this.acting = null;
    return { update: written.length ? Buffer.from(Y.mergeUpdates(written)).toString('base64') : null };
  }

  report() {
    const cells = {};
    const shared = {};
    for (const cell of this.notebook.cells) {
      const model = this.models.get(cell);
      if (model) {
        cells[cell.id] = {
          outputs: model.outputs.toJSON(),
          execution_count: model.executionCount,
          execution_state: model.executionState
        };
        shared[cell.id] = {
          outputs: cell.getOutputs(),
          execution_count: cell.execution_count,
          execution_state: cell.executionState
        };
      }
    }
    return { cells, shared, order: this.notebook.cells.map(cell => cell.id) };
  }

  close() {
    for (const model of this.models.values()) {
      model.dispose();
    }
    this.notebook.dispose();
  }
}

const tabs = new Map();

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const name = command.open ?? command.apply ?? command.act ?? command.report ?? command.close;
  if (command.open) {
    tabs.set(name, new Tab(command.update, command.documentWideUndo));
  }
  current = tabs.get(name);
  if (command.apply) {
    current.apply(command.update);
  }
  const answer = command.report ? current.report() : command.act ? current.act(...command.action) : {};
  process.stdout.write(JSON.stringify({ ...answer, errors: current.errors, writes: current.writes }) + '\n');
  if (command.close) {
    current.close();
    tabs.delete(name);
  }
}

process.exit(0); // the pretended browser has timers that would keep Node alive
