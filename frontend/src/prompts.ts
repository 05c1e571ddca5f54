import type * as Y from 'yjs';

import { mapOf } from './live';

/** Who may answer (`execution/input_policy.py`). */
export type Policy = 'anyone' | 'writers' | 'runner';

/** What a kernel asks for and nobody has answered yet: `input()`, `getpass()`. */
export interface Prompt {
  id: string;
  runId: string;
  cellId: string;
  /** What the kernel says; it may be nothing. */
  text: string;
  /** Whether what is typed is a secret: then it is in no document. */
  password: boolean;
  policy: Policy;
  /** The account of who has asked for the run. */
  user: string;
  /** What is being typed, for everybody to see. */
  draft: Y.Text | null;
}

/** The kernel that asks, and what it asks for. */
export interface Pending {
  kernelId: string | null;
  prompts: Prompt[];
}

/** What somebody may do on this server, as far as it matters here. */
export interface Rights {
  /** Have kernels do something. */
  execute: boolean;
  /** Change documents. */
  write: boolean;
}

/** Who uses the page; what is not known yet is `null`. */
export interface Person {
  account: string | null;
  rights: Rights | null;
}

/** Why somebody cannot answer. */
export type Hindrance = 'execute' | 'write' | 'runner';

/** What `execution.now.prompts` of a document says. Anybody who can edit can write anything there. */
export function pendingIn(doc: Y.Doc): Pending {
  const now = mapOf(doc.getMap('execution').get('now'));
  const kernel = now?.get('kernel');
  const prompts: Prompt[] = [];
  mapOf(now?.get('prompts'))?.forEach((entry: unknown) => {
    const prompt = read(mapOf(entry));
    if (prompt) {
      prompts.push(prompt);
    }
  });
  return { kernelId: textOf(mapOf(kernel)?.get('id') ?? (kernel as Named)?.id), prompts };
}

/**
 * What keeps a person from answering; the server has the last word.
 *
 * What is not known is taken for granted: who may not is told by the server then.
 */
export function hindrance(prompt: Prompt, { account, rights }: Person): Hindrance | null {
  if (rights?.execute === false) {
    return 'execute';
  }
  if (prompt.policy === 'runner') {
    return account === null || account === prompt.user ? null : 'runner';
  }
  return prompt.policy === 'writers' && rights?.write === false ? 'write' : null;
}

function read(entry: Y.Map<unknown> | null): Prompt | null {
  const [id, runId, cellId] = ['prompt_id', 'run_id', 'cell_id'].map(key =>
    textOf(entry?.get(key))
  );
  if (!entry || !id || !runId || !cellId) {
    return null;
  }
  const password = entry.get('password') === true;
  const policy = entry.get('policy');
  const value = entry.get('value') as Partial<Y.Text> | null | undefined;
  return {
    id,
    runId,
    cellId,
    text: textOf(entry.get('prompt')) ?? '',
    password,
    policy: policy === 'anyone' || policy === 'runner' ? policy : 'writers',
    user: textOf(entry.get('user')) ?? '',
    draft: !password && typeof value?.toDelta === 'function' ? (value as Y.Text) : null
  };
}

type Named = { id?: unknown } | null | undefined;

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
