import { URLExt } from '@jupyterlab/coreutils';
import { KernelAPI, ServerConnection } from '@jupyterlab/services';

import type { Rights } from './prompts';
import type { Answer, RunState } from './runs';

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
    message: string,
    /** All that it said; `null` if that was not understood. */
    readonly body: unknown = null
  ) {
    super(message);
    this.name = 'Refused';
  }
}

/** What becomes of runs. */
export class RunsApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** Ask how a run stands. Throws the network's error. */
  async ask(kernelId: string, runId: string): Promise<Answer> {
    try {
      const response = await request(
        this.settings,
        URLExt.join(
          'api/kernels',
          encodeURIComponent(kernelId),
          'requests',
          encodeURIComponent(runId)
        ),
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
}

/** An answer to what a kernel asks for. */
export interface InputAnswer {
  run_id: string;
  prompt_id: string;
  value: string;
}

/** How long an answer may take to be taken, in milliseconds. */
const ANSWER_TIMEOUT = 30_000;

/** What kernels ask people for. */
export class InputApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** Have the kernel get an answer, if it is the first one. Throws `Refused`, or the network's error. */
  async answer(kernelId: string, answer: InputAnswer): Promise<void> {
    await this.post(kernelId, 'input', {
      body: JSON.stringify(answer),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT)
    });
  }

  /** Interrupt the kernel. Throws `Refused`, or the network's error. */
  async interrupt(kernelId: string): Promise<void> {
    await this.post(kernelId, 'interrupt', {});
  }

  private async post(kernelId: string, what: string, init: RequestInit): Promise<void> {
    const path = URLExt.join('api/kernels', encodeURIComponent(kernelId), what);
    await request(this.settings, path, { method: 'POST', ...init });
  }
}

/** What people may do. */
export class RightsApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** What who uses the page may do. Throws `Refused`, or the network's error. */
  async mine(): Promise<Rights> {
    const permissions = JSON.stringify({ contents: ['write'], kernels: ['execute'] });
    const query = URLExt.objectToQueryString({ permissions });
    const response = await request(this.settings, `api/me${query}`, {});
    const allowed = ((await response.json()) as { permissions: Record<string, string[]> })
      .permissions;
    return {
      write: allowed['contents']?.includes('write') ?? false,
      execute: allowed['kernels']?.includes('execute') ?? false
    };
  }
}

/** The kernels that the server has. */
export class KernelsApi {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** Whether there is this one, and who uses the page may have it do something. Throws `Refused`, or the network's error. */
  async offers(kernelId: string): Promise<boolean> {
    const kernels = await KernelAPI.listRunning(this.settings);
    return (
      kernels.some(({ id }) => id === kernelId) &&
      (await new RightsApi(this.settings).mine()).execute
    );
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
    throw await refusalIn(response);
  }
  return response;
}

/** The server's own sentence; a proxy in between may answer with something else than JSON. */
async function refusalIn(response: Response): Promise<Refused> {
  const { status, statusText } = response;
  const body: unknown = await response.json().catch(() => null);
  return refusal(status, body, `${status} ${statusText}`);
}

/** A refusal with this body, in its own sentence if it has one. */
export function refusal(status: number, body: unknown, name = `${status}`): Refused {
  const message = (body as { message?: unknown } | null)?.message;
  return new Refused(
    status,
    typeof message === 'string' && message ? message : `The server answered ${name}.`,
    body
  );
}
