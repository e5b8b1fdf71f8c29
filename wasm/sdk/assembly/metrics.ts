// Counters and histograms in the filter's own memory, which the host reads when it is scraped:
// counting costs a load and a store, no call. Declared as top-level constants with an object
// literal, from which the compiler lays out the memory and writes the manifest.

/** Three label sizes and the number of bounds stand before the cells. */
const HEADER: usize = 16;

@unmanaged
class Cells {
  n0: i32;
  n1: i32;
  n2: i32;
  bounds: i32;
}

/** Index of the series, or -1 when a label value is out of range. */
function seriesOf(cells: Cells, a: i32, b: i32, c: i32): i32 {
  if (<u32> a >= <u32> cells.n0 || <u32> b >= <u32> cells.n1 || <u32> c >= <u32> cells.n2) {
    return -1;
  }
  return (a * cells.n1 + b) * cells.n2 + c;
}

function layOut(data: usize, n0: i32, n1: i32, n2: i32, bounds: i32): void {
  const cells = changetype<Cells>(data);
  cells.n0 = n0;
  cells.n1 = n1;
  cells.n2 = n2;
  cells.bounds = bounds;
}

/** Only grows. Label values are given as indices, in the order of the declaration. */
@unmanaged
export class Counter extends Cells {
  inc(a: i32 = 0, b: i32 = 0, c: i32 = 0): void {
    this.add(1, a, b, c);
  }
  add(by: f64, a: i32 = 0, b: i32 = 0, c: i32 = 0): void {
    const series = seriesOf(this, a, b, c);
    if (series < 0 || !(by >= 0)) return;
    const at = changetype<usize>(this) + HEADER + (<usize> series << 3);
    store<f64>(at, load<f64>(at) + by);
  }
}

/** Goes up and down. */
@unmanaged
export class Gauge extends Cells {
  set(to: f64, a: i32 = 0, b: i32 = 0, c: i32 = 0): void {
    const series = seriesOf(this, a, b, c);
    if (series < 0) return;
    store<f64>(changetype<usize>(this) + HEADER + (<usize> series << 3), to);
  }
}

/** Counts values by bucket. The bounds lie after the four sizes, then the cells. */
@unmanaged
export class Histogram extends Cells {
  observe(value: f64, a: i32 = 0, b: i32 = 0, c: i32 = 0): void {
    const series = seriesOf(this, a, b, c);
    if (series < 0) return;
    const n = this.bounds;
    const bounds = changetype<usize>(this) + HEADER;
    let bucket = 0;
    while (bucket < n && value > load<f64>(bounds + (<usize> bucket << 3))) bucket++;
    const row = bounds + (<usize> (n + series * (n + 2)) << 3);
    const cell = row + (<usize> bucket << 3);
    store<f64>(cell, load<f64>(cell) + 1);
    const sum = row + (<usize> (n + 1) << 3);
    store<f64>(sum, load<f64>(sum) + value);
  }
}

/** `counter({ name, help, labels: { route: paths.or("other"), status_class: ["2xx", "5xx"] } })` */
export function counter(data: usize, n0: i32, n1: i32, n2: i32): Counter {
  layOut(data, n0, n1, n2, 0);
  return changetype<Counter>(data);
}

/** As `counter`. */
export function gauge(data: usize, n0: i32, n1: i32, n2: i32): Gauge {
  layOut(data, n0, n1, n2, 0);
  return changetype<Gauge>(data);
}

/** As `counter`, with `bounds: [1, 5, 25]`: upper bounds, growing, without infinity. */
export function histogram(
  data: usize,
  n0: i32,
  n1: i32,
  n2: i32,
  bounds: usize,
  count: i32,
): Histogram {
  layOut(data, n0, n1, n2, count);
  memory.copy(data + HEADER, bounds, <usize> count << 3);
  return changetype<Histogram>(data);
}

/** In a metric's `labels`: the values 1xx, 2xx, 3xx, 4xx, 5xx and none, for `statusClass`. */
export const STATUS_CLASSES = 0;

/** 0 for 1xx … 4 for 5xx, 5 for no response. */
export function statusClass(status: i32): i32 {
  const at = status / 100 - 1;
  return <u32> at < 5 ? at : 5;
}
