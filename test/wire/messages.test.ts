// Every message of Linkerd's API, filled at random, through Linkerd's own types and back: what is lost on
// the way is ours alone, and nothing of Linkerd's is unknown to us.

import { type DescMessage, fromBinary, type Registry, toBinary } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fuzzSeed, type Random, seeded } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";
import { arbitrary, type Seen } from "./support/arbitrary.ts";
import { differences, OURS } from "./support/differences.ts";
import { linesOf, messagesOf, OUR_API } from "./support/ours.ts";
import { Codec, linkerdApi, NO_PEER, startPeer } from "./support/peer.ts";

/** Messages of each type, and of the types that services speak with, which hold all others. */
const EACH = 12;
const EACH_OF_SERVICES = 60;
/** Enough for each field of a type to be set, whatever the seed. */
const MOST = 1000;

const SEED = fuzzSeed("messages");
const linkerd: Registry = NO_PEER === null ? linkerdApi() : OUR_API;

/** What services take and give. */
function spoken(api: Registry): Set<string> {
  const methods = [...api].flatMap((t) => (t.kind === "service" ? t.methods : []));
  return new Set(methods.flatMap((m) => [m.input.typeName, m.output.typeName]));
}

/** Calls `check` with messages of every type of `api`, of each until all its fields have had a turn. */
async function forMessages(
  api: Registry,
  check: (desc: DescMessage, sent: Uint8Array, random: Random) => Promise<void>,
): Promise<void> {
  const [random, services, seen] = [seeded(SEED), spoken(api), new Set() as Seen];
  for (const desc of messagesOf(api)) {
    const isSeen = () => desc.fields.every((f) => seen.has(`${desc.typeName}.${f.name}`));
    const least = services.has(desc.typeName) ? EACH_OF_SERVICES : EACH;
    for (let i = 0; i < least || (i < MOST && !isSeen()); i++) {
      await check(desc, toBinary(desc, arbitrary(desc, random, seen)), random);
    }
    assert.ok(isSeen(), `a field of ${desc.typeName} was never set`);
  }
}

/** The type of the same name in another registry. */
function sameIn(api: Registry, desc: DescMessage): DescMessage {
  const same = api.getMessage(desc.typeName);
  assert.ok(same, `${desc.typeName} is not known`);
  return same;
}

const read = (desc: DescMessage, bytes: Uint8Array) => reflect(desc, fromBinary(desc, bytes));

testUnless(NO_PEER, test, "the peer has every message of ours, and no other", async () => {
  await using peer = startPeer("names");
  const names = (await peer.rest()).trim().split("\n");
  assert.equal(names, messagesOf(OUR_API).map((m) => m.typeName));
  assert.equal(names, messagesOf(linkerd).map((m) => m.typeName));
});

testUnless(NO_PEER, test, "names, numbers, types, oneofs and methods are Linkerd's", () => {
  const [theirs, ours] = [linesOf(linkerd, OURS), linesOf(OUR_API, OURS)];
  assert.ok(theirs.size > 500, `${theirs.size} lines`);
  assert.equal([...theirs].filter((line) => !ours.has(line)), [], "missing here");
  assert.equal([...ours].filter((line) => !theirs.has(line)), [], "only here");
});

testUnless(
  NO_PEER,
  test,
  "of our messages Linkerd's types lose nothing but field 2048",
  async () => {
    await using codec = new Codec();
    let lost = 0;
    await forMessages(OUR_API, async (desc, bytes) => {
      const [sent, got] = [read(desc, bytes), read(desc, await codec.again(desc.typeName, bytes))];
      assert.equal(differences(sent, got, desc.typeName), []);
      if (desc.fields.some((f) => f.number === OURS && sent.isSet(f))) lost++;
    });
    assert.ok(lost > 50, `${lost} messages had a field of ours`);
  },
);

testUnless(NO_PEER, test, "of Linkerd's messages ours lose nothing", async () => {
  await using codec = new Codec();
  await forMessages(linkerd, async (desc, bytes) => {
    // By their types first, so that what is read here is what they write.
    const written = await codec.again(desc.typeName, bytes);
    const sent = read(desc, bytes);
    assert.equal(differences(sent, read(desc, written), desc.typeName), [], "their own");
    const ours = sameIn(OUR_API, desc);
    assert.equal(differences(sent, read(ours, written), desc.typeName), []);
    const again = toBinary(ours, fromBinary(ours, written));
    assert.equal(differences(sent, read(desc, again), desc.typeName), []);
  });
});

testUnless(
  NO_PEER,
  test,
  "corrupted bytes that Linkerd's types take mean the same to ours",
  async () => {
    await using codec = new Codec();
    const figures = { taken: 0, refused: 0 };
    await forMessages(linkerd, async (desc, bytes, random) => {
      if (bytes.length === 0) return;
      const broken = Uint8Array.from(bytes);
      broken[random.int(0, bytes.length - 1)] = random.int(0, 255);
      const theirs = await codec.again(desc.typeName, broken).catch(() => null);
      // What theirs refuse, ours may take: they are lenient about a field of the wrong wire type.
      if (theirs === null) return void figures.refused++;
      figures.taken++;
      const ours = sameIn(OUR_API, desc);
      assert.equal(differences(read(ours, broken), read(ours, theirs), desc.typeName), []);
    });
    assert.ok(figures.taken > 100 && figures.refused > 100, JSON.stringify(figures));
  },
);

test.run();
