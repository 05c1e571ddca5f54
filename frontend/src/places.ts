import type { Cell, MarkdownCell } from '@jupyterlab/cells';
import { NotebookActions, type Notebook, type NotebookMode } from '@jupyterlab/notebook';
import type * as Y from 'yjs';

import { documentOf } from './rooms';

type Editor = NonNullable<Cell['editor']>;
type Ids = ReadonlyMap<Cell, string>;
type Selection = ReturnType<Editor['getSelection']>;

/** How long JupyterLab may take to make all cells, in milliseconds. */
const PATIENCE = 10_000;

/** When nothing has moved for so many frames all is where it belongs. */
const QUIET_FRAMES = 10;

/** What people do who want to be somewhere else. */
const MOVES = ['wheel', 'pointerdown', 'touchstart'] as const;

/**
 * Keeps people where they are in a notebook when others change the list of its cells.
 *
 * Cells are replaced by others with the same ids when a tab comes back to a server which had to build the document
 * anew, and somebody is using the new one: of each cell only one can stay. JupyterLab then removes all cells and makes
 * the others when it has time: the window is at the top, the last cell is the active one, and what is typed goes
 * nowhere.
 *
 * And when one transaction both adds and removes cells above the active one, JupyterLab's next cell becomes the active
 * one: `Notebook._onCellsChanged` takes the index in the document, which has all of the change, for that in the
 * notebook, which has the first part of it.
 *
 * Nothing is written into the document here.
 */
export class PlaceKeeper {
  /** Keep the place in a notebook that has its model, for as long as it is there. */
  follow(notebook: Notebook): void {
    const doc = notebook.model && documentOf(notebook.model);
    if (!doc) {
      return;
    }
    const cells = doc.getArray('cells') as Y.AbstractType<unknown>;
    const changes = ({ changed }: Y.Transaction): boolean =>
      (changed as Map<unknown, unknown>).has(cells);
    let ids = idsOf(notebook);
    let place: Place | null = null;
    // The document is changed already, and nobody has been told. What was deleted has no id any more.
    const before = (transaction: Y.Transaction): void => {
      place = !transaction.local && changes(transaction) ? new Place(notebook, ids) : null;
    };
    const after = (transaction: Y.Transaction): void => {
      place?.restore();
      place = null;
      if (changes(transaction)) {
        ids = idsOf(notebook);
      }
    };
    doc.on('beforeObserverCalls', before);
    doc.on('afterTransaction', after);
    notebook.disposed.connect(() => {
      doc.off('beforeObserverCalls', before);
      doc.off('afterTransaction', after);
    });
  }
}

/** Where somebody is in a notebook. */
class Place {
  constructor(
    private readonly notebook: Notebook,
    private readonly ids: Ids
  ) {
    const { activeCell, mode, node, outerNode } = notebook;
    const { top, bottom } = outerNode.getBoundingClientRect();
    for (const [cell, id] of ids) {
      if (isMarkdown(cell)) {
        this.rendered.set(id, cell.rendered);
      }
      const box = cell.node.getBoundingClientRect();
      if (cell.node.isConnected && box.bottom > top && box.top < bottom) {
        this.tops.set(id, box.top - top);
      }
    }
    this.scrollTop = outerNode.scrollTop;
    this.active = (activeCell && ids.get(activeCell)) ?? null;
    this.mode = mode;
    this.focused = node.contains(document.activeElement);
    this.selection = activeCell?.editor?.getSelection() ?? null;
  }

  /** Go there again, if people were moved. */
  restore(): void {
    const { notebook } = this;
    const cells = new Map(notebook.widgets.map(cell => [cell.model.id, cell]));
    const active = this.active === null ? undefined : cells.get(this.active);
    const replaced = [...this.ids].some(([cell, id]) => cell.isDisposed && cells.has(id));
    if (!replaced && (!active || notebook.activeCell === active)) {
      return;
    }
    if (active) {
      notebook.activeCellIndex = notebook.widgets.indexOf(active);
      notebook.mode = this.mode;
      void this.goOn(active);
    }
    // Those that were the active cell for a moment are shown as they are edited.
    for (const cell of notebook.widgets.filter(isMarkdown)) {
      cell.rendered = this.rendered.get(cell.model.id) ?? cell.rendered;
    }
    const inView = [...this.tops.keys()].filter(id => cells.has(id));
    const anchor = inView.find(id => id === this.active) ?? inView[0];
    if (anchor !== undefined) {
      this.hold(anchor, this.tops.get(anchor) ?? 0);
    }
  }

  /** Have the keys go where they went. */
  private async goOn(cell: Cell): Promise<void> {
    const { notebook } = this;
    await cell.ready;
    if (cell.isDisposed || notebook.activeCell !== cell) {
      return;
    }
    const { editor } = cell;
    if (editor && this.selection && !this.ids.has(cell)) {
      editor.setSelection(within(editor, this.selection));
    }
    if (!this.focused || !isFree(document.activeElement, notebook.node)) {
      return;
    }
    if (this.mode === 'edit') {
      editor?.focus();
    } else if (!cell.node.contains(document.activeElement)) {
      // Otherwise they go on where they were, such as in what the cell asks for.
      await NotebookActions.focusActiveCell(notebook, { preventScroll: true });
    }
  }

  /** Scroll so that a cell begins there, while the cells above are being made. */
  private hold(id: string, top: number): void {
    const { notebook } = this;
    const scroller = notebook.outerNode;
    const leaving = new AbortController();
    for (const move of MOVES) {
      scroller.addEventListener(
        move,
        () => {
          leaving.abort();
        },
        { passive: true, signal: leaving.signal }
      );
    }
    let end = Infinity;
    let quiet = 0;
    const step = (now: number): void => {
      end = Math.min(end, now + PATIENCE); // counted from the first frame: a page in the background has none
      const index = notebook.widgets.findIndex(({ model }) => model.id === id);
      const cell = notebook.widgets[index];
      const over = now > end || quiet > QUIET_FRAMES || notebook.isDisposed;
      if (over || !cell || (notebook.activeCell?.model.id ?? null) !== this.active) {
        leaving.abort();
      }
      if (!cell || leaving.signal.aborted) {
        return;
      }
      const before = scroller.scrollTop;
      scroller.scrollTop = cell.node.isConnected
        ? before + Math.round(distance(scroller, cell.node) - top)
        : this.scrollTop;
      const made = notebook.widgets.slice(0, index + 1).every(cell => !cell.isPlaceholder());
      quiet = made && scroller.scrollTop === before ? quiet + 1 : 0;
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  private readonly rendered = new Map<string, boolean>();
  /** For each cell in view how far below the window's upper edge it begins. */
  private readonly tops = new Map<string, number>();
  private readonly scrollTop: number;
  private readonly active: string | null;
  private readonly mode: NotebookMode;
  private readonly focused: boolean;
  private readonly selection: Selection | null;
}

function idsOf(notebook: Notebook): Ids {
  return new Map(notebook.widgets.map(cell => [cell, cell.model.id]));
}

function isMarkdown(cell: Cell): cell is MarkdownCell {
  return cell.model.type === 'markdown';
}

/** Whether the focus is taken away from nobody. */
function isFree(focused: Element | null, node: HTMLElement): boolean {
  return focused === null || focused === document.body || node.contains(focused);
}

function distance(outer: HTMLElement, inner: HTMLElement): number {
  return inner.getBoundingClientRect().top - outer.getBoundingClientRect().top;
}

/** The selection as far as the text goes. */
function within(editor: Editor, { start, end }: Selection): Selection {
  const last = editor.lineCount - 1;
  const fit = ({ line, column }: Selection['start']): Selection['start'] => {
    const fitting = Math.min(line, last);
    return { line: fitting, column: Math.min(column, editor.getLine(fitting)?.length ?? 0) };
  };
  return { start: fit(start), end: fit(end) };
}
