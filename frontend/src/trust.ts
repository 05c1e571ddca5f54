import type { ICellModel, ICodeCellModel } from '@jupyterlab/cells';
import type { INotebookModel } from '@jupyterlab/notebook';

import { isCode, OutputGuard } from './outputs';

/**
 * Lets open notebooks follow what the shared document says of the trust in their cells.
 *
 * The server notes in a cell's metadata that somebody who may has run it (`trusted`), in the transaction that
 * empties its outputs, and takes the note back when it puts outputs there that the contents manager does not vouch
 * for. JupyterLab reads it only when it makes the cell's model (`CellModel` of `@jupyterlab/cells`), so a tab that
 * is open already would go on sanitizing what it shows, or go on not doing so.
 *
 * Nothing is written into the document here: a tab that only looks on must write nothing.
 */
export class TrustFollower {
  /** Follow all cells of a notebook, those to come as well. Telling it of a notebook twice is no harm. */
  follow(notebook: INotebookModel): void {
    if (this.notebooks.has(notebook)) {
      return;
    }
    this.notebooks.add(notebook);
    for (const cell of notebook.cells) {
      followCell(cell);
    }
    notebook.cells.changed.connect((_, { newValues }) => {
      newValues.forEach(followCell);
    });
  }

  private readonly notebooks = new WeakSet<INotebookModel>();
}

function followCell(cell: ICellModel): void {
  if (!isCode(cell)) {
    return;
  }
  OutputGuard.of(cell);
  const { outputs, sharedModel } = cell;
  // One transaction tells of itself twice: first what it did to the metadata, then, when the model has it too, what
  // it did to the outputs. Trust is lost before the outputs that came with the loss are shown, and given after those
  // that went when it was given are gone: neither of them may run a script.
  sharedModel.metadataChanged.connect((_, { key }) => {
    if (key === 'trusted' && (!isTrusted(cell) || outputs.length === 0)) {
      adopt(cell);
    }
  });
  sharedModel.changed.connect((_, { metadataChange }) => {
    if (metadataChange) {
      adopt(cell);
    }
  });
  adopt(cell);
}

/** Make the model trusted, or not, as the document says. */
function adopt(cell: ICodeCellModel): void {
  if (cell.isDisposed) {
    return;
  }
  const trusted = isTrusted(cell);
  if (cell.outputs.trusted !== trusted) {
    setTrust(cell, trusted);
  }
  if (cell.trusted !== trusted && !(trusted && wouldWrite(cell))) {
    cell.trusted = trusted;
  }
}

/** Show the outputs anew with this trust. */
function setTrust(cell: ICodeCellModel, trusted: boolean): void {
  const guard = OutputGuard.of(cell);
  if (!guard.works && trusted && cell.outputs.length > 0) {
    return; // What it shows can stay sanitized until the page is loaded again.
  }
  guard.silently(outputs => {
    // Not by setting `trusted` alone: an output area does not follow the text of a stream that was replaced in its
    // place, but it does follow one that was added (`OutputArea.onModelChanged`).
    const values = outputs.toJSON();
    if (values.length > 0) {
      outputs.clear();
    }
    outputs.trusted = trusted;
    for (const value of values) {
      outputs.add(value);
    }
  });
}

/** What the document says, read as JupyterLab reads it. */
function isTrusted(cell: ICodeCellModel): boolean {
  return Boolean(cell.sharedModel.getMetadata('trusted'));
}

/**
 * Whether a model that is told to be trusted would write into the document.
 *
 * It writes all metadata back (`CodeCellModel.onTrustedChanged`), which changes nothing unless the two keys that say
 * that the outputs are folded disagree (`YBaseCell.setMetadata`), as in old notebooks that have only one of them. Then
 * the outputs are shown as trusted, but the model, and so the icon in the status bar, does not know.
 */
function wouldWrite(cell: ICodeCellModel): boolean {
  const { collapsed, jupyter } = cell.sharedModel.getMetadata() as Folded;
  return (collapsed ?? null) !== (jupyter?.outputs_hidden ?? null);
}

interface Folded {
  collapsed?: boolean | null;
  jupyter?: { outputs_hidden?: boolean | null } | null;
}
