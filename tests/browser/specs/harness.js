/** The smallest test runner: a spec exports functions, and each either throws or does not. */

export class Failure extends Error {}

export function equal(actual, expected, what = "") {
  const [a, b] = [show(actual), show(expected)];
  if (a !== b) throw new Failure(`${what}\n  expected ${b}\n  but got  ${a}`);
}

export function ok(value, what) {
  if (!value) throw new Failure(what);
}

/** Waits until a condition holds; fails with `what` after five seconds. */
export async function until(condition, what) {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Failure(`never: ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

/** Maps and undefined survive, and keys come in one order: unlike plain JSON. */
function show(value) {
  return JSON.stringify(value, (_, v) => {
    if (v === undefined) return "(undefined)";
    if (v instanceof Map) return { map: [...v] };
    if (v && typeof v === "object" && !Array.isArray(v)) {
      return Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)));
    }
    return v;
  });
}

/** Random numbers that repeat with their seed, so that a failure can be seen again. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), state | 1) + 0x6d2b79f5) >>> 0;
    return ((state ^ (state >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** @returns {Promise<{name: string, error: string|null}[]>} */
export async function run(url) {
  const spec = await import(url);
  const results = [];
  for (const [name, test] of Object.entries(spec)) {
    try {
      await test();
      results.push({ name, error: null });
    } catch (error) {
      results.push({ name, error: error instanceof Failure ? error.message : String(error.stack ?? error) });
    }
  }
  return results;
}
