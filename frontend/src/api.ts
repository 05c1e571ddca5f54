import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { Answer, RunState } from './runs';

/** What is asked of the server for one gesture. */
export interface ExecuteRequest {
  document_id: string;
  cell_ids: string[];
  /** The barrier that must have arrived before anything is run (see `barrier.ts`). */
  after: string;
  record_timing: boolean;
}

/** A run the server has accepted. */
export interface AcceptedRun {
  cell_id: string;
  run_id: string;
  state: RunState;
}

/** The server answered, and its answer is no. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string
  ) {
    super(message);
    this.name = 'Refused';
  }
}

/** The HTTP surface of the server extension, as far as the front end uses it. */
export class ExecutionApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** Ask for cells to be run, in this order. Throws `Refused`, or the network's error. */
  async execute(kernelId: string, request: ExecuteRequest): Promise<AcceptedRun[]> {
    const response = await this.request(`${encodeURIComponent(kernelId)}/execute`, {
      method: 'POST',
      body: JSON.stringify(request)
    });
    return ((await response.json()) as { runs: AcceptedRun[] }).runs;
  }

  /** Ask how a run stands. Throws the network's error. */
  async ask(kernelId: string, runId: string): Promise<Answer> {
    try {
      const response = await this.request(
        `${encodeURIComponent(kernelId)}/requests/${encodeURIComponent(runId)}`,
        {}
      );
      return ((await response.json()) as { state: RunState }).state;
    } catch (error) {
      // A refusal will not change by asking again: the run or its kernel is not known any more, or not to us.
      if (error instanceof Refused && error.status < 500) {
        return 'unknown';
      }
      throw error;
    }
  }

  private request(path: string, init: RequestInit): Promise<Response> {
    return request(this.settings, URLExt.join('api/kernels', path), init);
  }
}

/** The recovery copies that the server keeps of documents. */
export class RecoveryApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** Have the document become what it was in a copy. Throws `Refused`, or the network's error. */
  async restore(path: string, copy: string): Promise<void> {
    const address = URLExt.join('api/collaboration/recovery', URLExt.encodeParts(path));
    await request(this.settings, address, { method: 'POST', body: JSON.stringify({ copy }) });
  }
}

/** What time it is on the server. */
export class TimeApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** In milliseconds; the answer's header has whole seconds. Throws `Refused`, or the network's error. */
  async now(): Promise<number> {
    const response = await request(this.settings, 'api', { cache: 'no-store' });
    return Date.parse(response.headers.get('Date') ?? '');
  }
}

async function request(
  settings: ServerConnection.ISettings,
  path: string,
  init: RequestInit
): Promise<Response> {
  const response = await ServerConnection.makeRequest(
    URLExt.join(settings.baseUrl, path),
    init,
    settings
  );
  if (!response.ok) {
    throw new Refused(response.status, await messageOf(response));
  }
  return response;
}

/** The server's own sentence; a proxy in between may answer with something else than JSON. */
async function messageOf(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { message?: unknown };
    if (typeof body.message === 'string' && body.message) {
      return body.message;
    }
  } catch {
    // Not JSON: the status has to do.
  }
  return `The server answered ${response.status} ${response.statusText}.`;
}
