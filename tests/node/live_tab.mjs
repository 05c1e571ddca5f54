// Plays open JupyterLab tabs: their real models, fed with Yjs updates as a tab is.
//
// One JSON object a line on standard input, one answer a line on standard output:
//
//   {"open": tab, "update": base64}    a tab opens and receives the whole document
//   {"apply": tab, "update": base64}   an open tab receives an update
//   {"report": tab}                    what does it show?
//   {"close": tab}
//
// Every answer has "errors", what was thrown in that tab since it opened, and "writes", how many updates it
// made itself since then: a tab that only looks must make none. A report has "cells", what the models
// show, and "shared", what the tab's copy of the document says.

import './browser.mjs';
import { createInterface } from 'node:readline';
import * as Y from 'yjs';
import { YNotebook } from '@jupyter/ydoc';

const { CodeCellModel } = await import('@jupyterlab/cells/lib/model.js');

const SERVER = Symbol('server');

// What a signal's listener throws does not reach whoever emits: Lumino says it on the console.
let current = null;
console.error = (...words) => current?.errors.push(words.map(word => word?.stack ?? String(word)).join(' '));

class Tab {
  constructor(update) {
    current = this;
    this.errors = [];
    this.writes = 0;
    this.models = new Map();
    this.notebook = new YNotebook();
    this.notebook.ydoc.on('update', (_update, origin) => {
      if (origin !== SERVER) {
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
    return { cells, shared };
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
  const name = command.open ?? command.apply ?? command.report ?? command.close;
  if (command.open) {
    tabs.set(name, new Tab(command.update));
  }
  current = tabs.get(name);
  if (command.apply) {
    current.apply(command.update);
  }
  const answer = command.report ? current.report() : {};
  process.stdout.write(JSON.stringify({ ...answer, errors: current.errors, writes: current.writes }) + '\n');
  if (command.close) {
    current.close();
    tabs.delete(name);
  }
}

process.exit(0); // the pretended browser has timers that would keep Node alive
