// Runs named checks one after the other and writes what became of each to standard output, as JSON.

const DEADLINE_MS = 10_000;

export async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${DEADLINE_MS} ms`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function report(checks) {
  const results = [];
  for (const [name, check] of checks) {
    try {
      await check();
      results.push({ name, failure: null });
    } catch (error) {
      results.push({ name, failure: error instanceof Error ? error.message : JSON.stringify(error) });
    }
  }
  // A client's timers would keep the process alive after its last word.
  process.stdout.write(JSON.stringify(results), () => process.exit());
}
