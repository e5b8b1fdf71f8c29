// Makes Node's executable for Linux fit for a host: without what only debuggers read, and without
// libatomic, which many hosts lack and of which it uses one function. Knows ELF as far as that needs.

/** Of 64-bit ELF headers (System V ABI, chapters 4 and 5). */
const PT = { load: 1, dynamic: 2 } as const;
const DT = { null: 0, needed: 1, pltRelSize: 2, strtab: 5, symtab: 6, jmprel: 23 } as const;
const DT_VERNEED = 0x6ffffffe;
const DT_VERNEEDNUM = 0x6fffffff;
const EXECUTABLE = 1;
const X86_64 = 62;
const R_X86_64_JUMP_SLOT = 7;
const R_X86_64_RELATIVE = 8;
const PAGE = 4096;

const LIBRARY = "libatomic.so.1";
const FUNCTION = "__atomic_compare_exchange";

/**
 * `bool __atomic_compare_exchange(size_t, void *mem, void *expected, void *desired, int, int)` for 8
 * bytes, the one size that Node asks for; another ends the process.
 */
const COMPARE_EXCHANGE = Uint8Array.from([
  ...[0x48, 0x83, 0xff, 0x08], // cmp rdi, 8
  ...[0x75, 0x14], // jne bad
  ...[0x48, 0x8b, 0x02], // mov rax, [rdx]
  ...[0x4c, 0x8b, 0x11], // mov r10, [rcx]
  ...[0xf0, 0x4c, 0x0f, 0xb1, 0x16], // lock cmpxchg [rsi], r10
  ...[0x74, 0x03], // je equal
  ...[0x48, 0x89, 0x02], // mov [rdx], rax
  ...[0x0f, 0x94, 0xc0], // equal: sete al
  ...[0xc3], // ret
  ...[0x0f, 0x0b], // bad: ud2
]);

interface Segment {
  readonly header: number;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
}

/** An executable, changed in place. */
class Elf {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly machine: number;
  readonly segments: readonly Segment[];

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.view.getUint32(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) {
      throw new Error("it is not a 64-bit little-endian ELF file");
    }
    this.machine = this.view.getUint16(18, true);
    const at = this.u64(32);
    const size = this.view.getUint16(54, true);
    this.segments = Array.from({ length: this.view.getUint16(56, true) }, (_, i) => {
      const header = at + i * size;
      return {
        header,
        type: this.view.getUint32(header, true),
        flags: this.view.getUint32(header + 4, true),
        offset: this.u64(header + 8),
        address: this.u64(header + 16),
        fileSize: this.u64(header + 32),
      };
    });
  }

  u64(at: number): number {
    return Number(this.view.getBigUint64(at, true));
  }

  set64(at: number, value: number): void {
    this.view.setBigUint64(at, BigInt(value), true);
  }

  /** Where in the file an address is. */
  fileOffset(address: number): number {
    for (const { type, address: start, offset, fileSize } of this.segments) {
      if (type === PT.load && address >= start && address < start + fileSize) {
        return address - start + offset;
      }
    }
    throw new Error(`no segment holds the address ${address.toString(16)}`);
  }

  text(at: number): string {
    return new TextDecoder().decode(this.bytes.subarray(at, this.bytes.indexOf(0, at)));
  }
}

/** The file without sections: nothing that is run reads them. */
export function withoutSections(input: Uint8Array): Uint8Array {
  const elf = new Elf(input.slice());
  const end = Math.max(...elf.segments.map(({ offset, fileSize }) => offset + fileSize));
  elf.set64(40, 0); // e_shoff
  elf.view.setUint16(60, 0, true); // e_shnum
  elf.view.setUint16(62, 0, true); // e_shstrndx
  return elf.bytes.subarray(0, end);
}

/** Whether it needs libatomic. */
export function needsLibatomic(bytes: Uint8Array): boolean {
  return dynamic(new Elf(bytes)).some(({ tag, name }) => tag === DT.needed && name === LIBRARY);
}

/**
 * The file with its one function of libatomic brought along. Null where that is not how it is: another
 * machine, or more functions than one; then the library stays needed.
 */
export function withoutLibatomic(input: Uint8Array): Uint8Array | null {
  const elf = new Elf(input.slice());
  if (elf.machine !== X86_64) return null;
  const entries = dynamic(elf);
  const value = (tag: number) => entries.find((e) => e.tag === tag)?.value ?? 0;
  const strings = elf.fileOffset(value(DT.strtab));
  const slot = jumpSlot(elf, value(DT.jmprel), value(DT.pltRelSize), value(DT.symtab), strings);
  const code = elf.segments.find(({ type, flags }) =>
    type === PT.load && (flags & EXECUTABLE) !== 0
  );
  if (slot === null || code === undefined || !unlinkVersions(elf, entries, strings)) return null;

  // The rest of the segment's last page is mapped with it, and empty.
  const end = code.offset + code.fileSize;
  const at = (end + 15) & ~15;
  const after = at + COMPARE_EXCHANGE.length;
  const room = elf.bytes.subarray(end, after);
  if (Math.ceil(end / PAGE) * PAGE < after || room.some((byte) => byte !== 0)) return null;
  elf.bytes.set(COMPARE_EXCHANGE, at);
  elf.set64(code.header + 32, after - code.offset);
  elf.set64(code.header + 40, after - code.offset);
  // The slot holds the function's address from the start: nobody looks the name up.
  elf.set64(slot + 8, R_X86_64_RELATIVE);
  elf.set64(slot + 16, code.address + at - code.offset);

  const kept = entries.filter(({ name }) => name !== LIBRARY);
  const first = entries[0]?.at ?? 0;
  for (const [i, entry] of [...kept, { tag: DT.null, at: -1 }].entries()) {
    elf.set64(first + i * 16, entry.tag);
    // Read anew: unlinking may have changed it.
    elf.set64(first + i * 16 + 8, entry.at < 0 ? 0 : elf.u64(entry.at + 8));
  }
  return elf.bytes;
}

/** The dynamic section up to its end; `at` is each entry's place in the file. */
function dynamic(elf: Elf) {
  const segment = elf.segments.find(({ type }) => type === PT.dynamic);
  if (segment === undefined) throw new Error("it is linked statically");
  const found: { at: number; tag: number; value: number; name: string }[] = [];
  for (let at = segment.offset; elf.u64(at) !== DT.null; at += 16) {
    found.push({ at, tag: elf.u64(at), value: elf.u64(at + 8), name: "" });
  }
  const strings = elf.fileOffset(found.find(({ tag }) => tag === DT.strtab)?.value ?? 0);
  return found.map((e) => e.tag === DT.needed ? { ...e, name: elf.text(strings + e.value) } : e);
}

/** Where the relocation of the one function is; null: there is none. */
function jumpSlot(elf: Elf, jmprel: number, size: number, symtab: number, strings: number) {
  const symbols = elf.fileOffset(symtab);
  const start = elf.fileOffset(jmprel);
  for (let at = start; at < start + size; at += 24) {
    if (elf.view.getUint32(at + 8, true) !== R_X86_64_JUMP_SLOT) continue;
    const symbol = symbols + elf.view.getUint32(at + 12, true) * 24;
    if (elf.text(strings + elf.view.getUint32(symbol, true)) === FUNCTION) return at;
  }
  return null;
}

/** Takes the library out of the versions that are wanted; false: it is not there as expected. */
function unlinkVersions(
  elf: Elf,
  entries: readonly { readonly at: number; readonly tag: number; readonly value: number }[],
  strings: number,
): boolean {
  const first = entries.find(({ tag }) => tag === DT_VERNEED);
  const count = entries.find(({ tag }) => tag === DT_VERNEEDNUM);
  if (first === undefined || count === undefined) return false;
  let before = -1;
  for (let at = elf.fileOffset(first.value), i = 0; i < count.value; i++) {
    const next = elf.view.getUint32(at + 12, true);
    if (elf.text(strings + elf.view.getUint32(at + 4, true)) === LIBRARY) {
      if (elf.view.getUint16(at + 2, true) !== 1) return false; // one version, of one function
      if (before < 0) elf.set64(first.at + 8, first.value + next);
      else {
        elf.view.setUint32(before + 12, next === 0 ? 0 : at + next - before, true);
      }
      elf.set64(count.at + 8, count.value - 1);
      return true;
    }
    before = at;
    at += next;
  }
  return false;
}
