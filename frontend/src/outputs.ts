import type { ICellModel, ICodeCellModel } from '@jupyterlab/cells';

/**
 * Keeps a tab from writing what it makes of a cell's outputs into the shared document: they have one writer, the server.
 *
 * A renderer may change the data of the output that it shows (plotly adds a picture of the figure), and trusting a
 * notebook makes all its outputs anew. `CodeCellModel.onOutputsChange` of `@jupyterlab/cells` writes both into the
 * document, as one output that goes and one that comes. Two tabs that do so double it, and every open tab shows it
 * behind the others, whatever its place (`CodeCellModel._onSharedModelChanged`).
 *
 * What somebody does to outputs, such as clearing them, is written as ever.
 */
export class OutputGuard {
  /** The guard of a cell; made at the first call. */
  static of(cell: ICodeCellModel): OutputGuard {
    let guard = OutputGuard.guards.get(cell);
    if (!guard) {
      guard = new OutputGuard(cell);
      OutputGuard.guards.set(cell, guard);
    }
    return guard;
  }

  private constructor(private readonly cell: ICodeCellModel) {
    const { outputs } = cell;
    const { onOutputsChange } = cell as unknown as Writer;
    this.works = outputs.changed.disconnect(onOutputsChange, cell);
    if (this.works) {
      outputs.changed.connect((sender, event) => {
        if (!this.silenced && event.type !== 'set' && !cell.isDisposed) {
          onOutputsChange.call(cell, sender, event);
        }
      });
    }
  }

  /** Whether the model's writer was found. Otherwise this is a JupyterLab that we do not know, and nothing is kept back. */
  readonly works: boolean;

  /** Change the outputs that the tab shows, and nothing else. */
  silently(change: (outputs: ICodeCellModel['outputs']) => void): void {
    this.silenced = true;
    try {
      change(this.cell.outputs);
    } finally {
      this.silenced = false;
    }
  }

  private silenced = false;

  private static readonly guards = new WeakMap<ICodeCellModel, OutputGuard>();
}

export function isCode(cell: ICellModel): cell is ICodeCellModel {
  return cell.type === 'code';
}

type Changed = Parameters<ICodeCellModel['outputs']['changed']['connect']>[0];

interface Writer {
  onOutputsChange: Changed;
}
