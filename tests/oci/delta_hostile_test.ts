import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { ProgressEvent } from "../../lib/base/mod.ts";
import { DELTA_TYPE_REDHAT, TAR_DIFF_TYPE } from "../../lib/delta/mod.ts";
import { checkImages, listReferrers, openImageRef } from "../../lib/oci/mod.ts";
import { PublicKey } from "../../lib/signature/mod.ts";
import { content, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  type DeltaParts,
  operations,
  readJson,
  tarDiff,
  writeDelta,
  writeSignature,
} from "./_delta_layout.ts";
import {
  AMD64,
  chain,
  isFault,
  type JsonDescriptor,
  LayoutMaker,
  names,
  newRepository,
  pull,
  sha256,
  TYPE,
} from "./_oci.ts";

loadNative();

const END = new Uint8Array(1024);

function filesLayer(files: Record<string, string>): Buffer {
  const parts = Object.entries(files).map(([name, data]) =>
    Buffer.concat([header({ name, size: data.length }), content(data)])
  );
  return Buffer.concat([header({ name: "usr/", type: "5", mode: 0o755 }), ...parts, END]);
}

const BASE = filesLayer({ "usr/file": "b".repeat(3000) });
const OLD = filesLayer({ "usr/old": "o".repeat(2000) });
const NEW = filesLayer({ "usr/copy": "b".repeat(3000), "usr/new": "n".repeat(100) });
/** Where the copied file's content is in the new layer. */
const AT = NEW.indexOf("b".repeat(3000));
const PATCH = tarDiff(operations(
  NEW.subarray(0, AT),
  "usr/file",
  3000,
  NEW.subarray(AT + 3000),
));

/** A layout with both images, and what a delta between them is made of. */
class Images {
  readonly maker: LayoutMaker;
  readonly parts: DeltaParts;

  constructor(dir: TempDir, name: string) {
    this.maker = new LayoutMaker(dir.join(name));
    const old = this.maker.image({ layers: [BASE, OLD] });
    const fresh = this.maker.image({ layers: [BASE, NEW] });
    this.parts = { old, fresh, layers: [undefined, PATCH] };
  }

  /** Reference of the old image. */
  get old(): string {
    return `${this.maker.index([this.parts.old])}`;
  }

  /** Writes a delta that is like the sound one but for some parts; returns its reference. */
  delta(parts: Partial<DeltaParts> = {}): string {
    return this.maker.index([writeDelta(this.maker, { ...this.parts, ...parts })]);
  }
}

async function assertRefused(
  images: Images,
  reference: () => string,
  options: { fault: RegExp; repo: string; key?: PublicKey; layerLimit?: number },
): Promise<void> {
  using repository = newRepository(options.repo);
  await pull(repository, images.old, { name: "old" });
  const before = names(repository);
  const { key, layerLimit } = options;
  const result = pull(repository, reference(), {
    ...(key === undefined ? {} : { verifyKey: key }),
    ...(layerLimit === undefined ? {} : { layerLimit }),
  });
  await assert.rejects(result, (error) => {
    assert.ok(isFault(error));
    assert.match(chain(error), options.fault);
    return true;
  });
  assert.deepEqual(names(repository), before);
  assert.ok((await repository.fsck()).ok);
}

Deno.test("deltas are recognised in each form", async (t) => {
  const empty = { mediaType: TYPE.empty, digest: sha256("{}"), size: 2 };
  const cases: [string, Record<string, unknown>][] = [
    ["as it is", {}],
    ["with a media type", { mediaType: TYPE.manifest }],
    ["of the generator's own type", { artifactType: DELTA_TYPE_REDHAT }],
    ["whose type is its config's", {
      artifactType: undefined,
      config: { ...empty, mediaType: DELTA_TYPE_REDHAT },
    }],
    ["without a subject", { subject: undefined }],
  ];
  using dir = new TempDir();
  for (const [i, [name, manifest]] of cases.entries()) {
    await t.step(name, async () => {
      const images = new Images(dir, `layout${i}`);
      using repository = newRepository(dir.join(`repo${i}`));
      await pull(repository, images.old, { name: "old" });
      const result = await pull(repository, images.delta({ manifest }));
      assert.equal(result.manifestDigest.toString(), images.parts.fresh.digest);
      assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
    });
  }
});

Deno.test("deltas that lie are refused, and nothing is registered", async (t) => {
  using dir = new TempDir();
  /** Changes a blob's bytes, not its size. */
  const spoil = (maker: LayoutMaker, { digest }: { digest: string }) => {
    const path = maker.blobPath(digest);
    const bytes = Deno.readFileSync(path);
    bytes[bytes.length - 2]! ^= 1;
    Deno.writeFileSync(path, bytes);
  };
  const cases: {
    name: string;
    make: (images: Images) => string;
    fault: RegExp;
    layerLimit?: number;
  }[] = [
    {
      name: "another config than the manifest's",
      make: (images) => {
        const { maker, parts } = images;
        const { layers: [base] } = readJson<{ layers: [JsonDescriptor] }>(maker, parts.fresh);
        assert.ok(base);
        const config = maker.json({
          ...AMD64,
          rootfs: { type: "layers", diff_ids: [sha256(BASE), sha256(OLD)] },
        }, TYPE.config);
        return images.delta({ config });
      },
      fault: /: Delta has config sha256:\w+, but its manifest wants sha256:\w+$/,
    },
    {
      name: "another subject than the manifest in it",
      make: (images) => images.delta({ manifest: { subject: images.parts.old } }),
      fault: /: Delta is for image sha256:\w+, but has the manifest of sha256:\w+$/,
    },
    {
      name: "another target than the manifest in it",
      make: (images) =>
        images.delta({
          annotations: { "io.github.containers.delta.target": images.parts.old.digest },
        }),
      fault: /: Delta is for image sha256:\w+, but has the manifest of sha256:\w+$/,
    },
    {
      name: "a manifest with another digest",
      make: (images) => {
        const reference = images.delta();
        spoil(images.maker, images.parts.fresh);
        return reference;
      },
      fault: /: image manifest digest mismatch: expected sha256:\w+, got sha256:\w+$/,
    },
    {
      name: "a config with another digest",
      make: (images) => {
        const reference = images.delta();
        spoil(
          images.maker,
          readJson<{ config: JsonDescriptor }>(images.maker, images.parts.fresh).config,
        );
        return reference;
      },
      fault: /: image config digest mismatch: expected sha256:\w+, got sha256:\w+$/,
    },
    {
      name: "a tar-diff with another digest",
      make: (images) => {
        // Bytes behind the end of the operations count, too.
        const tail = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4);
        const blob = images.maker.blob(Buffer.concat([PATCH, tail]), TAR_DIFF_TYPE);
        const reference = images.delta({ layers: [undefined, blob] });
        spoil(images.maker, blob);
        return reference;
      },
      fault: /: blob digest mismatch: expected sha256:\w+, got sha256:\w+$/,
    },
    {
      name: "a tar-diff of another size",
      make: (images) => {
        const blob = images.maker.blob(PATCH, TAR_DIFF_TYPE);
        return images.delta({ layers: [undefined, { ...blob, size: blob.size - 1 }] });
      },
      fault: /: Blob \S+: Expected size \d+ but found \d+$/,
    },
    {
      name: "a tar-diff that is not there",
      make: (images) => {
        const blob = images.maker.blob(PATCH, TAR_DIFF_TYPE);
        const reference = images.delta({ layers: [undefined, blob] });
        Deno.removeSync(images.maker.blobPath(blob.digest));
        return reference;
      },
      fault: /: Blob \S+ is not in /,
    },
    {
      name: "a tar-diff that makes another layer",
      make: (images) => images.delta({ layers: [undefined, tarDiff(operations(OLD))] }),
      fault: /: layer digest mismatch: expected sha256:\w+, got sha256:\w+$/,
    },
    {
      name: "an original layer that is another one",
      make: (images) =>
        images.delta({
          layers: [undefined, images.maker.blob(gzipSync(OLD), `${TYPE.layer}+gzip`)],
        }),
      fault: /: layer digest mismatch: expected sha256:\w+, got sha256:\w+$/,
    },
    {
      name: "an original layer whose compressed bytes have the wanted digest",
      make: (images) => {
        const { maker } = images;
        const packed = gzipSync(OLD);
        const blob = maker.blob(packed, `${TYPE.layer}+gzip`);
        const config = maker.json({
          ...AMD64,
          rootfs: { type: "layers", diff_ids: [sha256(BASE), sha256(packed)] },
        }, TYPE.config);
        const { layers } = readJson<{ layers: JsonDescriptor[] }>(maker, images.parts.fresh);
        const fresh = maker.json(
          { schemaVersion: 2, mediaType: TYPE.manifest, config, layers: [layers[0], blob] },
          TYPE.manifest,
        );
        return images.delta({ fresh, layers: [undefined, blob] });
      },
      fault: /: layer digest mismatch: expected sha256:\w+, got sha256:\w+$/,
    },
    {
      name: "more layers than diff_ids",
      make: (images) => {
        const { maker } = images;
        const { layers } = readJson<{ layers: JsonDescriptor[] }>(maker, images.parts.fresh);
        const config = maker.json({
          ...AMD64,
          rootfs: { type: "layers", diff_ids: [sha256(BASE)] },
        }, TYPE.config);
        const fresh = maker.json(
          { schemaVersion: 2, mediaType: TYPE.manifest, config, layers },
          TYPE.manifest,
        );
        return images.delta({ fresh });
      },
      fault: /: expected 2 layer refs but got 1$/,
    },
    {
      name: "a layer of too many bytes",
      make: (images) => images.delta(),
      fault: /: Layer exceeds the limit of 4000 bytes$/,
      layerLimit: 4000,
    },
    {
      name: "few bytes that make very many",
      make: (images) => {
        const again = operations("usr/file", 3000);
        const text = [operations(header({ name: "usr/big", size: 6_000_000_000 }))];
        for (let i = 0; i < 2_000_000; i += 1000) text.push(again);
        return images.delta({ layers: [undefined, tarDiff(Buffer.concat(text))] });
      },
      fault: /: Layer exceeds the limit of 1000000 bytes$/,
      layerLimit: 1_000_000,
    },
    {
      name: "no layers at all",
      make: (images) => images.delta({ layers: [] }),
      fault: /: Reused layer sha256:\w+ not found$/,
    },
    {
      name: "a manifest that is none",
      make: (images) =>
        images.delta({
          fresh: images.parts.fresh,
          manifest: {
            layers: [
              {
                ...images.maker.blob("[]", TYPE.manifest),
                annotations: { "io.github.containers.delta.content": "image-manifest" },
              },
              {
                ...images.maker.blob("{}", TYPE.config),
                annotations: { "io.github.containers.delta.content": "image-config" },
              },
            ],
            subject: undefined,
          },
          annotations: { "io.github.containers.delta.target": "" },
        }),
      fault: /: image manifest: /,
    },
  ];
  for (const [i, { name, make, fault, layerLimit }] of cases.entries()) {
    await t.step(name, async () => {
      const images = new Images(dir, `layout${i}`);
      await assertRefused(images, () => make(images), {
        fault,
        repo: dir.join(`repo${i}`),
        ...(layerLimit === undefined ? {} : { layerLimit }),
      });
    });
  }
});

Deno.test("an object of the old image that is damaged shows in the new layer", async () => {
  using dir = new TempDir();
  const images = new Images(dir, "layout");
  using repository = newRepository(dir.join("repo"));
  await pull(repository, images.old, { name: "old" });
  const id = repository.idOf(new TextEncoder().encode("b".repeat(3000)));
  const path = `${repository.path}/objects/${id.slice(0, 2)}/${id.slice(2)}`;
  Deno.chmodSync(path, 0o644);
  Deno.writeTextFileSync(path, "x".repeat(3000));
  const before = names(repository);
  await assert.rejects(pull(repository, images.delta()), /Unable to pull/);
  assert.deepEqual(names(repository), before);
});

Deno.test("equal layers of the new image are in a delta once", async () => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const old = maker.image({ layers: [BASE, OLD] });
  // Packed in two ways, so that they are two blobs.
  const blobs = [gzipSync(NEW, { level: 1 }), gzipSync(NEW, { level: 9, memLevel: 1 })];
  assert.notDeepEqual(blobs[0], blobs[1]);
  const config = maker.json({
    ...AMD64,
    rootfs: { type: "layers", diff_ids: [BASE, NEW, NEW].map(sha256) },
  }, TYPE.config);
  const { layers: [base] } = readJson<{ layers: JsonDescriptor[] }>(maker, old);
  const layers = [base, ...blobs.map((blob) => maker.blob(blob, `${TYPE.layer}+gzip`))];
  const fresh = maker.json(
    { schemaVersion: 2, mediaType: TYPE.manifest, config, layers },
    TYPE.manifest,
  );
  using repository = newRepository(dir.join("repo"));
  await pull(repository, maker.index([old]), { name: "old" });
  const delta = writeDelta(maker, { old, fresh, layers: [undefined, undefined, PATCH] });
  const result = await pull(repository, maker.index([delta]));
  assert.equal(result.manifestDigest.toString(), fresh.digest);
  assert.equal(openImageRef(repository, "t").layerIds.length, 3);
  assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
});

Deno.test("what is asked of deltas that they cannot do is refused", async (t) => {
  using dir = new TempDir();
  const images = new Images(dir, "layout");
  const { publicKey } = generateKeyPairSync("ed25519");
  const key = PublicKey.fromPem(publicKey.export({ type: "spki", format: "pem" }) as string);
  await t.step("repairing", async () => {
    using repository = newRepository(dir.join("repair"));
    await pull(repository, images.old, { name: "old" });
    await assert.rejects(pull(repository, images.delta(), { repair: true }), (error) => {
      assert.match(chain(error), /: A delta cannot repair layers, only the image itself can$/);
      return true;
    });
  });
  await t.step("a key for an image that is no delta", async () => {
    using repository = newRepository(dir.join("key"));
    await assert.rejects(pull(repository, images.old, { verifyKey: key }), (error) => {
      assert.match(chain(error), /: The image is no delta, so it has no embedded signature$/);
      return true;
    });
    assert.deepEqual(names(repository), []);
  });
  await t.step("a delta where there is none", async () => {
    using repository = newRepository(dir.join("require"));
    await assert.rejects(pull(repository, images.old, { delta: "require" }), (error) => {
      assert.match(chain(error), /: No delta found that makes sha256:\w+ from an image of/);
      return true;
    });
    // Off concerns those that nobody asked for.
    await pull(repository, images.old, { delta: "off", name: "old" });
    await pull(repository, images.delta(), { delta: "off" });
  });
});

const KEYS = {
  "P-256": () => generateKeyPairSync("ec", { namedCurve: "prime256v1" }),
  "RSA": () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  "Ed25519": () => generateKeyPairSync("ed25519"),
};

Deno.test("--verify-key takes deltas whose target the key has signed, and no others", async (t) => {
  using dir = new TempDir();
  for (const [name, generate] of Object.entries(KEYS)) {
    const { publicKey, privateKey } = generate();
    const other = generate().privateKey;
    const pem = publicKey.export({ type: "spki", format: "pem" }) as string;
    const verifyKey = PublicKey.fromPem(pem);
    const images = new Images(dir, name);
    const { maker, parts } = images;
    const target = parts.fresh.digest;
    const good = writeSignature(maker, { target, key: privateKey });
    const foreign = writeSignature(maker, { target, key: other });
    await t.step(`${name}: signed`, async () => {
      using repository = newRepository(dir.join(`${name}.repo`));
      await pull(repository, images.old, { name: "old" });
      const warnings: ProgressEvent[] = [];
      const progress = (event: ProgressEvent) => void warnings.push(event);
      const result = await pull(repository, images.delta({ more: [...foreign, ...good] }), {
        verifyKey,
        progress,
      });
      assert.equal(result.manifestDigest.toString(), target);
      assert.deepEqual((await checkImages(repository)).errors, []);
      // The signature stays with the image, and goes with it.
      const { digest } = good[0]!;
      assert.deepEqual(listReferrers(repository, result.manifestDigest).map(String), [digest]);
    });
    const bad: [string, JsonDescriptor[], RegExp][] = [
      ["not signed", [], /: delta contains no embedded signatures$/],
      ["another key", foreign, /: signature verification failed: the key did not make it/],
      [
        "another image",
        writeSignature(maker, { target: parts.old.digest, key: privateKey }),
        /: signature verification failed: it is for image sha256:\w+, not for sha256:\w+/,
      ],
      [
        "another kind of statement",
        writeSignature(maker, { target, key: privateKey, type: "attestation" }),
        /: signature verification failed: Unrecognized signature type attestation/,
      ],
      [
        "no statement",
        writeSignature(maker, { target, key: privateKey, payload: "[1]" }),
        /: signature verification failed: JSON object expected, got array/,
      ],
      [
        "no base64",
        writeSignature(maker, { target, key: privateKey, annotation: "?" }),
        /: signature verification failed: blob \S+ has a signature that is not base64/,
      ],
      [
        "no signature",
        writeSignature(maker, { target, key: privateKey, annotation: "" }),
        /: signature verification failed: blob \S+ has no signature/,
      ],
    ];
    for (const [what, more, fault] of bad) {
      await t.step(`${name}: ${what}`, async () => {
        const repo = dir.join(`${name}.${what.replaceAll(" ", "-")}`);
        await assertRefused(images, () => images.delta({ more }), { fault, repo, key: verifyKey });
      });
    }
  }
});
