// A bounded number of jobs at a time, in order; those that must be alone wait for all others.

/**
 * Runs `work` on each item, at most `width` at once. Items for which `alone` holds run after the
 * others, one at a time. Resolves when all are done; `work` must not reject.
 */
export async function pool<T>(
  items: readonly T[],
  width: number,
  alone: (item: T) => boolean,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const shared = items.filter((i) => !alone(i)).values();
  const lane = async () => {
    for (const item of shared) await work(item);
  };
  await Promise.all(Array.from({ length: width }, lane));
  for (const item of items) {
    if (alone(item)) await work(item);
  }
}
