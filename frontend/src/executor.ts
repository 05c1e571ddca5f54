import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { CodeCell } from '@jupyterlab/cells';
import {
  KernelError,
  runCell,
  type INotebookCellExecutor,
  type INotebookModel
} from '@jupyterlab/notebook';
import { nullTranslator } from '@jupyterlab/translation';
import { PromiseDelegate, UUID } from '@lumino/coreutils';

import type { AcceptedRun, RunsApi } from './api';
import type { AskedRuns } from './asked';
import { execute } from './asking';
import { BatchQueue } from './batch';
import { Restarts, type Restart } from './restart';
import { documentOf, type Rooms } from './rooms';
import { RunWatch, type Outcome } from './runs';

type Options = INotebookCellExecutor.IRunCellOptions;

/** How long to wait for the connection to the room, in milliseconds. */
const CONNECTION_TIMEOUT = 30_000;

/** How long to wait for a kernel that is being connected, in milliseconds. */
const KERNEL_TIMEOUT = 60_000;

/** How long a failed cell may take to show its error in the document, in milliseconds. */
const SETTLE_TIMEOUT = 2_000;

/** One code cell that was asked to run, and the promise JupyterLab holds for it. */
interface Request {
  options: Options;
  cell: CodeCell;
  /** The restart of the kernel that it was made in. */
  restart: Restart<Request> | null;
  ended: Promise<boolean>;
  resolve: (success: boolean | Promise<boolean>) => void;
  reject: (reason: Error) => void;
}

/** Requests that have a kernel and a document, all of one notebook. */
interface Batch {
  requests: Request[];
  notebook: INotebookModel;
  kernelId: string;
  watch: RunWatch;
}

/**
 * Has the server run the cells, and tells JupyterLab how they ended.
 *
 * Everything a cell shows is written by the server into the shared document. This class writes nothing there: it
 * asks, and reads the outcome from the document.
 */
export class ServerCellExecutor implements INotebookCellExecutor {
  constructor(
    private readonly api: RunsApi,
    private readonly rooms: Rooms,
    private readonly asked: AskedRuns
  ) {}

  /** Run a cell; the same in all that can be seen as JupyterLab's `runCell`. */
  async runCell(options: Options): Promise<boolean> {
    const { cell, notebook, onCellExecuted, sessionContext } = options;
    if (cell.model.type !== 'code') {
      return runCell(options);
    }
    if (!sessionContext || !this.rooms.holds(notebook)) {
      // Without a kernel there is nothing to ask for; and a notebook that is only here only runs from here.
      return runCell(options);
    }
    try {
      const ended = new PromiseDelegate<boolean>();
      this.queueOf(notebook).add({
        options,
        cell: cell as CodeCell,
        restart: this.restarts.of(sessionContext),
        ended: ended.promise,
        resolve: ended.resolve.bind(ended),
        reject: ended.reject.bind(ended)
      });
      return await ended.promise;
    } catch (error) {
      if (cell.isDisposed) {
        return false;
      }
      onCellExecuted({ cell, success: false, error: error as KernelError });
      if (carriesOn(cell as CodeCell)) {
        // The cells after this one go on running. What is thrown here makes JupyterLab write "idle" into all
        // cells of the gesture without a count, and that would put out their markers for everybody.
        return false;
      }
      throw error;
    }
  }

  private queueOf(notebook: INotebookModel): BatchQueue<Request> {
    let queue = this.queues.get(notebook);
    if (!queue) {
      queue = new BatchQueue(
        requests => this.start(requests),
        (one, other) => one.cell === other.cell
      );
      this.queues.set(notebook, queue);
    }
    return queue;
  }

  /** Take a batch to the point where the server has answered. What follows is not waited for. */
  private async start(all: Request[]): Promise<void> {
    const [first] = all;
    if (!first) {
      return;
    }
    const { notebook } = first.options;
    let requests = all;
    let watch: RunWatch | null = null;
    try {
      const restart = await this.restartOf(first);
      if (restart && joined(withoutDisposed(all), restart)) {
        return;
      }
      const kernelId = await this.kernelFor(all);
      requests = withoutDisposed(all);
      const doc = documentOf(notebook);
      if (kernelId === null || !doc || requests.length === 0) {
        return;
      }
      for (const { cell, options } of requests) {
        options.onCellExecutionScheduled({ cell });
        cell.outputHidden = false;
      }
      const cellIds = requests.map(({ cell }) => cell.model.sharedModel.getId());
      watch = new RunWatch(doc, cellIds, runId => this.api.ask(kernelId, runId));
      const batch: Batch = { requests, notebook, kernelId, watch };
      void this.follow(batch, await this.post(batch, cellIds));
    } catch (error) {
      watch?.dispose();
      refuse(requests, error);
    }
  }

  /** The restart that a request belongs to, when it is over; the last one if one comes after the other. */
  private async restartOf({ options, restart }: Request): Promise<Restart<Request> | null> {
    let last: Restart<Request> | null = null;
    while (restart && restart !== last) {
      last = restart;
      await Promise.race([last.over, pause(KERNEL_TIMEOUT)]);
      restart = options.sessionContext ? this.restarts.of(options.sessionContext) : null;
    }
    return last;
  }

  /** The kernel to ask, after the dialogs it takes; `null` when there is none and all requests are answered. */
  private async kernelFor(requests: Request[]): Promise<string | null> {
    const [first] = requests;
    const { sessionContext, sessionDialogs, translator } = first?.options ?? {};
    if (!sessionContext) {
      return null;
    }
    const trans = (translator ?? nullTranslator).load('jupyterlab');
    if (sessionContext.isTerminating) {
      await showDialog({
        title: trans.__('Kernel Terminating'),
        body: trans.__(
          'The kernel for %1 appears to be terminating. You can not run any cell for now.',
          sessionContext.session?.path
        ),
        buttons: [Dialog.okButton()]
      });
      answerAll(requests, true);
      return null;
    }
    // No word about pending input: the server queues what comes while a prompt is open.
    if (sessionContext.hasNoKernel) {
      const shouldSelect = await sessionContext.startKernel();
      if (shouldSelect && sessionDialogs) {
        await sessionDialogs.selectKernel(sessionContext);
      }
    }
    if (sessionContext.hasNoKernel) {
      for (const { cell } of withoutDisposed(requests)) {
        cell.model.sharedModel.transact(() => {
          cell.model.clearExecution();
        });
      }
      answerAll(requests, true);
      return null;
    }
    if (!sessionContext.session?.kernel) {
      // A page that was just opened has a kernel by name before it has its id.
      await Promise.race([sessionContext.ready, pause(KERNEL_TIMEOUT)]);
    }
    const kernelId = sessionContext.session?.kernel?.id;
    if (kernelId === undefined) {
      throw new Error('The kernel could not be connected. Restart it and run again.');
    }
    return kernelId;
  }

  /** Send the batch. */
  private post(batch: Batch, cellIds: string[]): Promise<AcceptedRun[]> {
    const request = {
      kernel_id: batch.kernelId,
      cell_ids: cellIds,
      record_timing: batch.requests.some(r => r.options.notebookConfig.recordTiming)
    };
    const connection = (): ReturnType<Rooms['connectionOf']> =>
      this.rooms.connectionOf(batch.notebook);
    return this.asked.note(execute(connection, request, UUID.uuid4(), CONNECTION_TIMEOUT));
  }

  /** See the accepted runs to their ends. */
  private async follow(batch: Batch, runs: AcceptedRun[]): Promise<void> {
    const { notebook, requests, watch } = batch;
    const connection = this.rooms.connectionOf(notebook);
    const onSync = (synced: boolean): void => {
      if (synced) {
        void watch.askAll();
      }
    };
    const onDisposed = (): void => {
      watch.dispose();
    };
    connection?.on('sync', onSync);
    notebook.sharedModel.disposed.connect(onDisposed);
    try {
      await Promise.all(requests.map((request, index) => followOne(watch, request, runs[index])));
    } finally {
      connection?.off('sync', onSync);
      notebook.sharedModel.disposed.disconnect(onDisposed);
      watch.dispose();
      this.asked.forget(runs);
    }
  }

  private readonly queues = new WeakMap<INotebookModel, BatchQueue<Request>>();
  private readonly restarts = new Restarts<Request>();
}

/** Whether the very same was sent for a gesture of the same restart; then this one ends as that does. */
function joined(requests: Request[], restart: Restart<Request>): boolean {
  const wanted = JSON.stringify(
    requests.map(({ cell }) => [cell.model.id, cell.model.sharedModel.getSource()])
  );
  const sent = restart.sent.get(wanted);
  if (!sent) {
    restart.sent.set(wanted, requests);
    return false;
  }
  requests.forEach(({ resolve }, index) => {
    resolve(sent[index]?.ended ?? false);
  });
  return true;
}

/** See one run to its end and settle its promise. Never rejects. */
async function followOne(
  watch: RunWatch,
  request: Request,
  run: AcceptedRun | undefined
): Promise<void> {
  const { cell, options, resolve, reject } = request;
  if (!run) {
    refuse([request], new Error('The server did not say what it made of this cell. Run it again.'));
    return;
  }
  const onDisposed = (): void => {
    watch.forget(run.cell_id);
  };
  cell.disposed.connect(onDisposed);
  const outcome: Outcome | null = cell.isDisposed
    ? null
    : await watch.outcome(run.cell_id, run.run_id, run.state);
  cell.disposed.disconnect(onDisposed);
  if (cell.isDisposed || outcome === null) {
    resolve(false);
  } else if (outcome === 'error') {
    await settled(cell);
    reject(kernelErrorOf(cell));
  } else {
    options.onCellExecuted({ cell, success: outcome === 'ok' });
    resolve(outcome === 'ok');
  }
}

/**
 * Wait until the document shows a failed cell as it ended.
 *
 * When the server was asked, its answer can be here before the update. JupyterLab, told of the failure, puts out
 * the markers of the gesture's cells itself; it has to find them out already, or it writes into the document.
 */
async function settled(cell: CodeCell): Promise<void> {
  const deadline = Date.now() + SETTLE_TIMEOUT;
  while (!cell.isDisposed && cell.model.executionState !== 'idle' && Date.now() < deadline) {
    await pause(50);
  }
}

/** The error of a failed cell, as if the kernel had told us. */
function kernelErrorOf(cell: CodeCell): KernelError {
  const outputs = cell.isDisposed ? [] : cell.model.sharedModel.getOutputs();
  const output = outputs.filter(({ output_type }) => output_type === 'error').pop() ?? {};
  const { ename, evalue, traceback } = output as Record<string, unknown>;
  return new KernelError({
    status: 'error',
    execution_count: 0,
    user_expressions: {},
    payload: [],
    ename: typeof ename === 'string' ? ename : 'Error',
    evalue: typeof evalue === 'string' ? evalue : '',
    traceback: Array.isArray(traceback) ? traceback.map(String) : []
  } as unknown as ConstructorParameters<typeof KernelError>[0]);
}

/** Whether the run goes on after this cell failed. */
function carriesOn(cell: CodeCell): boolean {
  const tags: unknown = cell.model.getMetadata('tags');
  return Array.isArray(tags) && tags.includes('raises-exception');
}

/** The requests whose cells are still there; the others are answered quietly. */
function withoutDisposed(requests: Request[]): Request[] {
  answerAll(
    requests.filter(({ cell }) => cell.isDisposed),
    false
  );
  return requests.filter(({ cell }) => !cell.isDisposed);
}

function answerAll(requests: Request[], success: boolean): void {
  for (const { resolve } of requests) {
    resolve(success);
  }
}

/** Nothing was run: say why, once for all cells of the gesture. */
function refuse(requests: Request[], reason: unknown): void {
  const error = reason instanceof Error ? reason : new Error(String(reason));
  if (requests.some(({ cell }) => !cell.isDisposed)) {
    Notification.error(error.message, { autoClose: false });
  }
  for (const { cell, options, resolve } of requests) {
    if (!cell.isDisposed) {
      // Not a kernel's error; JupyterLab's own executor passes on whatever it has caught, too.
      options.onCellExecuted({ cell, success: false, error: error as KernelError });
    }
    resolve(false);
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds));
}
