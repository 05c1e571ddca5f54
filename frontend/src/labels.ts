import type { TranslationBundle } from '@jupyterlab/translation';

import type { LiveRun, LiveRuns } from './live';

/** What is shown of a run beside its cell's prompt. */
export interface Label {
  state: LiveRun['state'];
  /** At most three characters, as there is no room for more beside the prompt. */
  short: string;
  /** Whose run it is, if it is somebody else's. */
  by: string;
  /** All of it, for who wants to know. */
  sentence: string;
}

type Trans = Pick<TranslationBundle, '__' | '_n'>;

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * What to show of each run that is worth a word: of one that has just begun nothing yet.
 *
 * @param now The time by the server's clock, in milliseconds.
 * @param me The account of who looks at it; `null` while that is not known, and then nobody is named.
 */
export function labelsOf(
  { runs }: LiveRuns,
  now: number,
  me: string | null,
  trans: Trans
): Map<string, Label> {
  const labels = new Map<string, Label>();
  let place = 0;
  for (const run of runs) {
    const by = me === null || run.user === me ? '' : run.name;
    const { state } = run;
    if (state === 'queued') {
      place++;
      const sentence =
        place === 1 ? trans.__('Next in the queue') : trans.__('Number %1 in the queue', place);
      labels.set(run.cellId, {
        state,
        short: place < 100 ? `#${place}` : '99+',
        by,
        sentence: said(sentence, by, trans)
      });
      continue;
    }
    const asks = state === 'input';
    const begun = (asks ? run.askedAt : null) ?? run.startedAt ?? now;
    const seconds = Math.floor((now - begun) / 1000);
    const time = inWords(seconds, trans);
    if (asks) {
      const sentence =
        seconds < 1 ? trans.__('Waiting for input') : trans.__('Waiting for input for %1', time);
      labels.set(run.cellId, { state, short: '?', by, sentence: said(sentence, by, trans) });
    } else if (seconds >= 1) {
      const sentence = trans.__('Running for %1', time);
      labels.set(run.cellId, {
        state,
        short: inShort(seconds),
        by,
        sentence: said(sentence, by, trans)
      });
    }
  }
  return labels;
}

/** A duration in three characters, for what is under way a hundred days at most. */
export function inShort(seconds: number): string {
  const units = [
    [1, 's'],
    [MINUTE, 'm'],
    [HOUR, 'h'],
    [DAY, 'd']
  ] as const;
  const [size, name] = units.find(([size]) => seconds < 100 * size) ?? [DAY, 'd'];
  return `${Math.floor(seconds / size)}${name}`;
}

/** A duration as one would say it, in its two largest units. */
export function inWords(seconds: number, trans: Pick<Trans, '_n'>): string {
  const parts = [
    [Math.floor(seconds / DAY), '%1 day', '%1 days'],
    [Math.floor((seconds % DAY) / HOUR), '%1 hour', '%1 hours'],
    [Math.floor((seconds % HOUR) / MINUTE), '%1 minute', '%1 minutes'],
    [seconds % MINUTE, '%1 second', '%1 seconds']
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first < 0 ? -1 : first)
    .slice(0, 2)
    .filter(([count], index) => index === 0 || count > 0)
    .map(([count, one, many]) => trans._n(one, many, count))
    .join(' ');
}

function said(sentence: string, by: string, trans: Trans): string {
  return by ? trans.__('%1, asked for by %2', sentence, by) : sentence;
}
