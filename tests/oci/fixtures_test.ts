import assert from "node:assert/strict";
import type { ObjectId } from "../../lib/base/mod.ts";
import { toHex } from "../../lib/base/mod.ts";
import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import type { ProgressEvent } from "../../lib/base/mod.ts";
import {
  buildTree,
  checkImages,
  imageBytes,
  linkedImage,
  listReferrers,
  type OciImage,
  openImageRef,
} from "../../lib/oci/mod.ts";
import type { OpenStream, Repository } from "../../lib/repository/mod.ts";
import { CONTENT_TYPE } from "../../lib/splitstream/mod.ts";
import type { XattrMode } from "../../lib/tree/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { loadNative } from "../helpers/native.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  chain,
  expectations,
  fixtureLayout,
  FIXTURES,
  isFault,
  names,
  newRepository,
  pull,
  sha256,
} from "./_oci.ts";

loadNative();

/** The tree that an image's layers make, as its dump is printed. */
function treeOf(repository: Repository, image: OciImage, xattrs: XattrMode = "allowlist-only") {
  const layers = image.layerIds.map((id) => ({
    id,
    object: image.configStream.refs.get(id.toString()) ?? assert.fail(`${id} has no reference`),
  }));
  return buildTree(repository, layers, { xattrs });
}

function dump(repository: Repository, image: OciImage): string {
  return [...formatDumpfile(treeOf(repository, image))].join("");
}

interface Stored {
  content_type: string;
  total_size: number;
  object_refs: string[];
  chunks: [string, number][];
  named_refs: Record<string, string>;
  named_ref_names: string[];
}

interface Basic {
  erofs_v1: string;
  erofs_v2: string;
  config_splitstream: Stored;
  manifest_splitstream: Stored;
}

/** A document's stream holds its one object and nothing else. */
function assertDocument(stream: OpenStream, expected: Stored): void {
  assert.equal(
    stream.contentType,
    CONTENT_TYPE[
      expected.content_type === "ociconfg" ? "ociConfig" : "ociManifest"
    ],
  );
  assert.equal(Number(stream.streamSize), expected.total_size);
  assert.deepEqual([...stream.objectRefs], expected.object_refs);
  const chunks = [...stream.chunks()].map((chunk) =>
    chunk.type === "external" ? ["external", chunk.index] : ["inline", toHex(chunk.bytes)]
  );
  assert.deepEqual(chunks, [["external", 0]]);
}

Deno.test("pullImage() stores the basic image as the reference does", async (t) => {
  const expected = expectations<unknown>("basic") as Record<"sha256" | "sha512", Basic> & {
    manifest: string;
    config: string;
    diff_ids: string[];
    refs_dir_listing: string[];
    ref_target: string;
  };
  using dir = new TempDir();
  const layout = await fixtureLayout("basic", "basic", dir);
  for (const hash of ["sha256", "sha512"] as const) {
    for (const erofsVersion of [1, 2] as const) {
      await t.step(`${hash}, format ${erofsVersion}`, async () => {
        const row = expected[hash];
        using repository = newRepository(dir.join(`${hash}-${erofsVersion}`), {
          hash,
          erofsVersion,
        });
        const result = await pull(repository, `oci:${layout}:v1`);
        assert.equal(result.manifestDigest.toString(), expected.manifest);
        assert.equal(result.configDigest.toString(), expected.config);
        assert.equal(result.image, row[`erofs_v${erofsVersion}`]);
        assert.deepEqual(result.stats, {
          layersPresent: 0,
          objectsNew: 2,
          objectsPresent: 0,
          bytesStored: 4352 + 65,
          // 4.31 KiB stored and 9.19 KiB inlined stand in the reference's transcript.
          bytesInlined: 9407,
        });
        const config = repository.openStream(`oci-config-${expected.config}`);
        const manifest = repository.openStream(`oci-manifest-${expected.manifest}`);
        assertDocument(config, row.config_splitstream);
        assertDocument(manifest, row.manifest_splitstream);
        assert.equal(manifest.id, result.manifestStream);
        const imageRef = erofsVersion === 2 ? "composefs.image" : "composefs.image.v1";
        const layers = expected.diff_ids.map((id) => repository.streamObject(`oci-layer-${id}`)!);
        // Order of first insertion: layers, then images; config first in the manifest.
        assert.deepEqual([...config.streamRefs], [...layers, result.image]);
        assert.deepEqual([...manifest.streamRefs], [config.id, ...layers]);
        assert.deepEqual(
          Object.fromEntries(config.namedRefs),
          {
            ...Object.fromEntries(expected.diff_ids.map((id, i) => [id, layers[i]])),
            [imageRef]: row[`erofs_v${erofsVersion}`],
          },
        );
        if (erofsVersion === 2) {
          assert.deepEqual(
            [...config.namedRefs.keys()].sort(),
            Object.keys(row.config_splitstream.named_refs).sort(),
          );
        }
        assert.deepEqual(
          [...manifest.namedRefs.keys()].sort(),
          row.manifest_splitstream.named_ref_names.toSorted(),
        );
        const report = await checkImages(repository, { deep: true });
        assert.deepEqual([report.errors, report.repo.errors], [[], []]);
        // Nothing is garbage: documents are written once, with their last references.
        assert.equal(repository.gc({ dryRun: true }).objectsRemoved, 0);
        assert.equal(
          Deno.readLinkSync(`${repository.path}/streams/refs/oci/t`),
          expected.ref_target,
        );
      });
    }
  }
});

interface LayersRow {
  manifest_digest: string;
  diff_ids: string[];
  pull_exit: number;
  dump?: string;
  erofs_v1?: string;
  erofs_v2?: string;
  erofs_v1_keep_user_xattrs?: string;
  erofs_v2_keep_user_xattrs?: string;
}

/** Rows where ours succeeds and the reference does not. */
const LENIENT = new Set([
  "implicit_parent",
  "whiteout_missing_parent",
  "no_usr",
  "zero_layers",
  "run_file",
  "usr_is_symlink",
  "usr_is_file",
]);

/** Trees that no kernel or reader could take as an image of these formats: refused. */
const UNMOUNTABLE: Record<string, readonly number[]> = {
  symlink_empty: [1, 2],
  symlink_1025: [2],
  name_256: [1, 2],
};

async function assertRefused(repository: Repository, reference: string): Promise<void> {
  await assert.rejects(pull(repository, reference), isFault);
  assert.deepEqual(names(repository), []);
  assert.ok((await repository.fsck()).ok);
}

Deno.test("pullImage() registers nothing when an image cannot be written", async (t) => {
  using dir = new TempDir();
  const rows = expectations<LayersRow>("layers");
  for (const [name, versions] of Object.entries(UNMOUNTABLE)) {
    const layout = await fixtureLayout("layers", name, dir);
    for (const erofsVersion of [1, 2] as const) {
      await t.step(`${name}, format ${erofsVersion}`, async () => {
        using repository = newRepository(dir.join(`${name}-${erofsVersion}`), { erofsVersion });
        if (versions.includes(erofsVersion)) {
          return await assertRefused(repository, `oci:${layout}:t`);
        }
        const result = await pull(repository, `oci:${layout}:t`);
        assert.equal(result.image, rows[name]![`erofs_v${erofsVersion}`]);
      });
    }
  }
});

Deno.test("pullImage() gives the reference's images for layered trees", async (t) => {
  using dir = new TempDir();
  for (const [name, row] of Object.entries(expectations<LayersRow>("layers"))) {
    if (name in UNMOUNTABLE) continue; // above
    await t.step(name, async () => {
      const layout = await fixtureLayout("layers", name, dir);
      using repository = newRepository(dir.join(`${name}.repo`), { extra: [2] });
      const fails = name === "dotdot_end_dir" || (row.pull_exit !== 0 && !LENIENT.has(name));
      if (fails) return await assertRefused(repository, `oci:${layout}:t`);
      const result = await pull(repository, `oci:${layout}:t`);
      assert.equal(result.manifestDigest.toString(), row.manifest_digest);
      const image = openImageRef(repository, "t");
      assert.deepEqual(image.layerIds.map(String), row.diff_ids);
      const refs = image.configStream.refs;
      assert.equal(linkedImage(refs, 1), result.image);
      assert.ok((await checkImages(repository, { deep: true })).ok);
      if (LENIENT.has(name)) {
        assert.equal(row.erofs_v1, undefined);
        return;
      }
      assert.equal(dump(repository, image), row.dump);
      assert.equal(linkedImage(refs, 1), row.erofs_v1);
      assert.equal(linkedImage(refs, 2), row.erofs_v2);
      for (const version of [1, 2] as const) {
        const tree = treeOf(repository, image, "keep-user-xattrs");
        const id = repository.idOf(imageBytes(repository, tree, version));
        const expected = row[`erofs_v${version}_keep_user_xattrs`] ?? row[`erofs_v${version}`];
        assert.equal(id, expected);
      }
    });
    Deno.removeSync(dir.join(name), { recursive: true });
  }
});

interface SourceRow {
  note: string;
  ref_pull_exit: number;
  manifest?: string;
  config?: string;
  objects?: string;
  composefs_erofs_v1?: string | null;
  ref_stdout?: string;
}

/** Image that rows with two layers of "img" have, and the ones with its first layer only. */
const IMG = "32695839b2a0dd2c0a20b9d613db1222574a9a8777c51a7f786c310d6f8a4a29";
const FIRST = "4d8cc87e887ce044a659f1939b8e9a52e69179eacf9beead059f551c25b1d393";
const SEVERAL = "3543d995357c0ee9bf15bf4bf3efabe9df116d08f9b32a2e88f9fad079a82d8e";

/** What ours does where it differs: the image, or the message of the failure. */
const OURS: Record<string, { image?: string; fault?: RegExp; warns?: RegExp }> = {
  "oci:nested": { image: FIRST },
  "oci:nested:m": { image: FIRST },
  "oci:dockermt": { image: FIRST },
  "oci:plainasgz": {
    image: FIRST,
    warns: /^layer sha256:[0-9a-f]{64} is not compressed, its media type says gzip$/,
  },
  "oci:gzasplain": {
    image: FIRST,
    warns: /^layer sha256:[0-9a-f]{64} is gzip, its media type says not compressed$/,
  },
  "oci:baddiff": { fault: /layer digest mismatch: expected sha256:\w{64}, got sha256:\w{64}/ },
  "oci:badblob": { fault: /blob digest mismatch: expected sha256:\w{64}, got sha256:\w{64}/ },
  "oci:badman2": {
    fault: /image manifest digest mismatch: expected sha256:\w{64}, got sha256:\w{64}/,
  },
  "oci:badsize": { fault: /Expected size 2560 but found 2562$/ },
  "oci:missing": { fault: /Blob sha256:b46bde5c\w+ is not in .*missing: .*No such file/ },
  "oci:two:zz": { fault: /: Tag 'zz' not found in image index$/ },
  // The config tells the platform where the index does not.
  "oci:arm": {
    fault: /: No manifest found for platform linux\/amd64; available: \(no platform info\)$/,
  },
  "oci:armp": {
    fault: /: No manifest found for platform linux\/amd64; available: linux\/arm64$/,
  },
  "oci:nman": { fault: /: Image index contains no manifests$/ },
  "oci:fewdiff": { fault: /: expected 2 layer refs but got 1$/ },
  "oci:notar": { fault: /has media type text\/plain, which is no tar layer$/ },
  "oci:multigz-boundary": { image: SEVERAL },
  "oci:multigz-mid": { image: SEVERAL },
  "oci:multigz-silent": { image: SEVERAL },
  "oci:multizstd-boundary": { image: SEVERAL },
  "oci:multizstd-silent": { image: SEVERAL },
  "oci:zstd-skippable": { image: SEVERAL },
};

const IMG_CONFIG = "sha256:144cdb3de60211bb61c2c41e51d0bd21a8900cf86b85243ca0900d5697c405c1";
const IMG_MANIFEST = "sha256:56e4c6707fa74da1a7735a692766d622f94411e9312d188ce48356c290dbe770";

/** Digest of the manifest that an archive's plain layers get, spelled out (spec: oci 5.3). */
const SYNTHETIC = sha256(
  `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` +
    `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"${IMG_CONFIG}","size":299},` +
    `"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:` +
    `b46bde5cf30edaf34139054915f240600e957c90947d68bc9c0946516ad40665","size":2560},` +
    `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:` +
    `ba48c614e69347ebc3fc0540fad772dfc1a0e96bc2e425a8a3e5d51e96ff9db6","size":2048}]}`,
);

/** The copies that skopeo made of "img": the manifest that is stored, and the one that was there. */
const COPIES: Record<string, { manifest: string; source?: string }> = {
  "img.ociar": { manifest: IMG_MANIFEST },
  "img.dir": { manifest: IMG_MANIFEST },
  "img.v2dir": {
    manifest: IMG_MANIFEST,
    source: "sha256:234c58125751ed1188ff5d29496db356801fb3abc2e0ffe0e48dc7595cb03e84",
  },
  // There is no manifest in it: ours, of the plain layers.
  "img.dar": { manifest: SYNTHETIC },
};

/** Where a fixture is, unpacked when it is a directory. */
async function sourcePath(transport: string, name: string, dir: TempDir): Promise<string> {
  if (transport === "oci") return await fixtureLayout("sources", name, dir);
  if (transport !== "dir") return `${FIXTURES}sources/${name}`;
  const path = dir.join(name);
  Deno.mkdirSync(path);
  await unpack(`fixtures/oci/sources/${name}.tar`, path);
  return path;
}

/** Bytes that "300 B stored, 4.21 KiB inlined" and the like mean, as the counters show them. */
function objectsLine(stats: { objectsNew: number; objectsPresent: number; bytesStored: number }) {
  const { objectsNew, objectsPresent, bytesStored } = stats;
  return `${objectsNew} new + ${objectsPresent} already present objects; ${bytesStored} B stored`;
}

Deno.test("pullImage() takes every source that is sound and no other", async (t) => {
  using dir = new TempDir();
  let skopeoCopies = 0;
  for (const [reference, row] of Object.entries(expectations<SourceRow>("sources"))) {
    const [transport, name, tag] = reference.split(":") as [string, string, string | undefined];
    await t.step(reference, async () => {
      if (transport !== "oci") skopeoCopies++;
      const path = await sourcePath(transport, name, dir);
      using repository = newRepository(dir.join(`${reference.replace(/\W/g, "_")}.repo`));
      const source = `${transport}:${path}${tag === undefined ? "" : `:${tag}`}`;
      const warnings: string[] = [];
      const progress = (event: ProgressEvent) => {
        if (event.type === "warning") warnings.push(event.text);
      };
      const ours = OURS[reference];
      if (ours?.fault !== undefined) {
        const { fault } = ours;
        await assert.rejects(pull(repository, source), (error) => {
          assert.ok(isFault(error));
          assert.match(chain(error), fault);
          return true;
        });
        assert.deepEqual(names(repository), []);
        const report = await repository.fsck();
        assert.deepEqual([report.ok, report.errors], [true, []]);
        return;
      }
      const result = await pull(repository, source, { progress });
      if (ours?.warns === undefined) assert.deepEqual(warnings, []);
      else {
        assert.equal(warnings.length, 1);
        assert.match(warnings[0]!, ours.warns);
      }
      if (row.manifest !== undefined) {
        assert.equal(result.manifestDigest.toString(), row.manifest);
        assert.equal(result.configDigest.toString(), row.config);
      }
      if (row.objects !== undefined && reference !== "oci:dup") {
        assert.ok(row.objects.startsWith(objectsLine(result.stats)), row.objects);
      }
      const expected = ours?.image ?? row.composefs_erofs_v1 ?? undefined;
      if (transport === "oci") assert.equal(result.image, expected);
      else {
        // All are copies of one image.
        assert.equal(result.image, IMG);
        assert.equal(`${result.configDigest}`, IMG_CONFIG);
        assert.equal(`${result.manifestDigest}`, COPIES[name]!.manifest);
        assert.equal(result.sourceDigest?.toString(), COPIES[name]!.source);
      }
      assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
    });
  }
  assert.equal(skopeoCopies, Object.keys(COPIES).length);
});

Deno.test("pullImage() imports a layer that an image has twice only once", async () => {
  using dir = new TempDir();
  const layout = await fixtureLayout("sources", "dup", dir);
  using repository = newRepository(dir.join("repo"));
  const result = await pull(repository, `oci:${layout}`);
  const image = openImageRef(repository, "t");
  assert.equal(image.layerIds.length, 3);
  assert.equal(image.manifestStream.refs.size, 1 + 2);
  assert.equal(objectsLine(result.stats), "2 new + 0 already present objects; 300 B stored");
});

Deno.test("pullImage() stores artifacts that share the empty config", async () => {
  using dir = new TempDir();
  const first = await fixtureLayout("sources", "art1", dir);
  const second = await fixtureLayout("sources", "art2", dir);
  using repository = newRepository(dir.join("repo"));
  const one = await pull(repository, `oci:${first}`, { name: "one" });
  const two = await pull(repository, `oci:${second}`, { name: "two" });
  assert.ok(one.configDigest.equals(two.configDigest));
  const images = ["one", "two"].map((name) => openImageRef(repository, name));
  for (const image of images) {
    assert.equal(image.config, undefined);
    assert.equal(image.layerIds.length, 1);
    const id = image.layerIds[0]!.toString();
    const stream = repository.openStreamObject(image.manifestStream.refs.get(id)!);
    assert.equal(stream.contentType, CONTENT_TYPE.ociBlob);
    assert.equal(stream.objectRefs.length, 1);
    assert.equal(repository.objects.size(stream.objectRefs.id(0) as ObjectId), 150);
  }
  // The config that has the name refers to the layers of both.
  const config = repository.openStream(`oci-config-${one.configDigest}`);
  assert.deepEqual(
    [...config.namedRefs.keys()].sort(),
    images.map((image) => image.layerIds[0]!.toString()).sort(),
  );
  assert.deepEqual((await checkImages(repository)).errors, []);
  repository.gc();
  assert.deepEqual((await checkImages(repository)).errors, []);
  const stored = repository.streamObject(`oci-manifest-${one.manifestDigest}`);
  const again = await pull(repository, `oci:${first}`, { name: "again" });
  // The second artifact gave the first one's config another object, so the manifest went along.
  assert.equal(again.manifestStream, stored);
  assert.notEqual(stored, one.manifestStream);
  assert.equal(again.stats.layersPresent, 1);
});

Deno.test("pullImage() makes an artifact known to its subject", async () => {
  using dir = new TempDir();
  const subject = await fixtureLayout("sources", "img", dir);
  const artifact = await fixtureLayout("sources", "artsub", dir);
  using repository = newRepository(dir.join("repo"));
  const image = await pull(repository, `oci:${subject}`, { name: "img" });
  assert.deepEqual(listReferrers(repository, image.manifestDigest), []);
  const about = await pull(repository, `oci:${artifact}`, { name: "about" });
  const refs = `streams/refs/oci-referrers/${image.manifestDigest}`;
  assert.equal(
    Deno.readLinkSync(`${repository.path}/${refs}/${about.manifestDigest}`),
    `../../../oci-manifest-${about.manifestDigest}`,
  );
  assert.deepEqual(listReferrers(repository, image.manifestDigest).map(String), [
    about.manifestDigest.toString(),
  ]);
});

Deno.test("the fixtures of this area are all there", () => {
  const archives = [...Deno.readDirSync(`${ROOT}fixtures/oci/sources`)].map(({ name }) => name);
  const rows = Object.keys(expectations("sources"));
  for (const name of archives) {
    if (name === "README.md" || name === "expected.json") continue;
    const key = name.endsWith(".oci.tar")
      ? `oci:${name.slice(0, -".oci.tar".length)}`
      : name.endsWith(".tar")
      ? `dir:${name.slice(0, -".tar".length)}`
      : name.endsWith(".dar")
      ? `docker-archive:${name}`
      : `oci-archive:${name}`;
    assert.ok(rows.some((row) => row === key || row.startsWith(`${key}:`)), `${name} has no row`);
  }
});
