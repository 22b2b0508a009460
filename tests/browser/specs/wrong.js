/** Shows that the runner tells a failing test from a passing one. */

import { equal } from "./harness.js";

export function differs() {
  equal({ a: 1 }, { a: 2 });
}

export async function throws_late() {
  await Promise.reject(new Error("late"));
}

export function passes() {
  equal({ a: 1, b: [undefined] }, { b: [undefined], a: 1 });
}
