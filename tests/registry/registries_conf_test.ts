import assert from "node:assert/strict";
import { FormatError, PolicyError } from "../../lib/base/mod.ts";
import {
  formatDockerReference,
  parseDockerReference,
  RegistryClient,
} from "../../lib/registry/mod.ts";
import { parseRegistriesConf, RegistriesConf } from "../../lib/registry/registries_conf.ts";
import { FaultServer } from "../helpers/fault_server.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;

/**
 * A file with a bit of everything.
 *
 * @param at where the places are in truth
 * @param flag for each place that has no flag of its own
 */
function confWith(at: (host: string) => string = (host) => host, flag = ""): string {
  const mirror = (host: string, more = flag) =>
    `[[registry.mirror]]\nlocation = "${at(host)}"\n${more}\n`;
  const registry = (prefix: string, host: string, more = "") =>
    `[[registry]]\nprefix = "${prefix}"\nlocation = "${at(host)}"\n${flag}\n${more}\n`;
  return [
    'unqualified-search-registries = ["example.com"]\nshort-name-mode = "enforcing"\n',
    registry("quay.io", "quay.io"),
    mirror("mirror.example.com/quay"),
    mirror("insecure.example.com:5000", "insecure = true"),
    registry("quay.io/special", "other.example.com/deep/"),
    registry("*.wild.example.com", "tame.example.com"),
    '[[registry]]\nprefix = "*.same.example.com"\ninsecure = true\n',
    registry("digests.example.com", "digests.example.com", "mirror-by-digest-only = true"),
    mirror("d.example.com"),
    registry("mixed.example.com", "mixed.example.com"),
    mirror("d.example.com", `${flag}\npull-from-mirror = "digest-only"`),
    mirror("t.example.com", `${flag}\npull-from-mirror = "tag-only"`),
    mirror("a.example.com", `${flag}\npull-from-mirror = "all"`),
    '[[registry]]\nlocation = "docker.io/library/busybox"\nblocked = true\n',
  ].join("");
}

const places: [name: string, places: string[] | "blocked"][] = [
  ["elsewhere.io/a:t", ["elsewhere.io/a:t"]],
  [
    "quay.io/a/b:t",
    ["mirror.example.com/quay/a/b:t", "insecure.example.com:5000/a/b:t!", "quay.io/a/b:t"],
  ],
  ["quay.io/special/a", ["other.example.com/deep/a"]],
  ["quay.io/special", ["other.example.com/deep"]],
  [
    "quay.io/specials",
    ["mirror.example.com/quay/specials", "insecure.example.com:5000/specials!", "quay.io/specials"],
  ],
  ["a.wild.example.com/x:t", ["tame.example.com/x:t"]],
  ["a.b.wild.example.com/x", ["tame.example.com/x"]],
  ["wild.example.com/x", ["wild.example.com/x"]],
  ["bwild.example.com/x", ["bwild.example.com/x"]],
  ["a.same.example.com/x", ["a.same.example.com/x!"]],
  ["digests.example.com/a:t", ["digests.example.com/a:t"]],
  [`digests.example.com/a@${DIGEST}`, [
    `d.example.com/a@${DIGEST}`,
    `digests.example.com/a@${DIGEST}`,
  ]],
  ["mixed.example.com/a", ["t.example.com/a", "a.example.com/a", "mixed.example.com/a"]],
  [
    `mixed.example.com/a@${DIGEST}`,
    [`d.example.com/a@${DIGEST}`, `a.example.com/a@${DIGEST}`, `mixed.example.com/a@${DIGEST}`],
  ],
  ["busybox", "blocked"],
  ["busybox:t", "blocked"],
  ["alpine", ["docker.io/library/alpine"]],
];

Deno.test("RegistriesConf says where names lead", async (t) => {
  const conf = new RegistriesConf(parseRegistriesConf(confWith(), "/registries.conf"));
  for (const [name, expected] of places) {
    await t.step(name, () => {
      const found = conf.places(parseDockerReference(name));
      if (expected === "blocked") return assert.equal(found.blocked?.file, "/registries.conf");
      const shown = found.places.map(({ reference, insecure }) =>
        formatDockerReference(reference) + (insecure ? "!" : "")
      );
      assert.deepEqual(shown, expected);
    });
  }
});

const faults: [name: string, text: string, message: RegExp][] = [
  ["no TOML", "[[registry]]\nlocation = \n", /^\/f\.conf: line 2: /],
  ["no list", 'registry = "x"', /registry is not a list/],
  ["no table", "registry = [1]", /registry is not a list of tables/],
  ["no place", "[[registry]]\n", /neither location nor prefix/],
  ["no location", '[[registry]]\nprefix = "a.io"', /has no location/],
  ["a number", "[[registry]]\nlocation = 1", /location is not text/],
  [
    "a flag in quotes",
    '[[registry]]\nlocation = "a.io"\nblocked = "yes"',
    /neither true nor false/,
  ],
  ["a scheme", '[[registry]]\nlocation = "https://a.io"', /has a scheme/],
  ["a wild place", '[[registry]]\nprefix = "a.*.io"\nlocation = "b"', /must begin with \*\./],
  ["a wild path", '[[registry]]\nprefix = "*.a.io/b"', /must begin with \*\. and be a domain/],
  ["a mirror without place", '[[registry]]\nlocation = "a.io"\nmirror = [{}]', /has no location/],
  [
    "unknown pulls",
    '[[registry]]\nlocation = "a.io"\nmirror = [{location = "b.io", pull-from-mirror = "x"}]',
    /pull-from-mirror "x"/,
  ],
  [
    "two ways to say it",
    '[[registry]]\nlocation = "a.io"\nmirror-by-digest-only = true\n' +
    'mirror = [{location = "b.io", pull-from-mirror = "all"}]',
    /pull-from-mirror and mirror-by-digest-only/,
  ],
  [
    "both versions",
    '[registries.insecure]\nregistries = ["a"]\n[[registry]]\nlocation = "a.io"',
    /mixed/,
  ],
  ["an old list that is none", '[registries.block]\nregistries = "a"', /not a list of text/],
];

Deno.test("parseRegistriesConf() names file and fault", async (t) => {
  for (const [name, text, message] of faults) {
    await t.step(name, () => {
      assert.throws(() => parseRegistriesConf(text, "/f.conf"), (error: unknown) => {
        assert.ok(error instanceof FormatError);
        assert.match(error.message, /^\/f\.conf: /);
        assert.match(error.message, message);
        return true;
      });
    });
  }
  const old = parseRegistriesConf(
    '[registries.insecure]\nregistries = ["a.io"]\n[registries.block]\nregistries = ["b.io/x"]\n',
    "/f.conf",
  );
  assert.deepEqual(
    old.map((one) => [one.prefix, one.endpoint.insecure, one.blocked]),
    [["a.io", true, false], ["b.io/x", false, true]],
  );
});

Deno.test("RegistriesConf.load() reads the user's file, and the directories beside both", async (t) => {
  using dir = new TempDir();
  const entry = (location: string) => `[[registry]]\nprefix = "p.io"\nlocation = "${location}"\n`;
  const home = dir.join("home");
  const files: [path: string, variables: Record<string, string>][] = [
    ["root/etc/containers/registries.conf", { HOME: home }],
    ["home/.config/containers/registries.conf", { HOME: home }],
    ["named.conf", { HOME: home, CONTAINERS_REGISTRIES_CONF: dir.join("named.conf") }],
    ["root/etc/containers/registries.conf.d/20-b.conf", { HOME: home }],
    ["root/etc/containers/registries.conf.d/30-c.conf", { HOME: home }],
    ["home/.config/containers/registries.conf.d/10-a.conf", { HOME: home }],
  ];
  dir.write("root/etc/containers/registries.conf.d/90-x.other", "not looked at");
  for (const [index, [path, variables]] of files.entries()) {
    await t.step(path, () => {
      dir.write(path, entry(`place-${index}.io`));
      const conf = RegistriesConf.load({
        variable: (name) => variables[name],
        uid: 0,
        root: dir.join("root"),
      });
      const [place] = conf.places(parseDockerReference("p.io/a")).places;
      assert.equal(place?.reference.domain, `place-${index}.io`);
    });
  }
});

testWith({
  name: "skopeo asks the same places in the same order",
  needs: [needTool("skopeo")],
  async fn(t) {
    const asked: string[] = [];
    const serve = (name: string) =>
      new FaultServer(({ path }) => {
        if (path === "/v2/") return {};
        asked.push(`${name}${path}`);
        return { status: 404 };
      });
    await using a = serve("a");
    await using b = serve("b");
    await using c = serve("c");
    const at = (host: string) => {
      const server = /^[imd]/.test(host) ? a : /^[ot]/.test(host) ? b : c;
      return `${server.host}/${host.replace(":", "-")}`;
    };
    const conf = confWith(at, "insecure = true");
    using dir = new TempDir();
    dir.write(".config/containers/registries.conf", conf);
    for (const [name] of places) {
      if (/^(elsewhere|alpine|wild|bwild|a\.same)/.test(name)) continue;
      await t.step(name, async () => {
        asked.length = 0;
        const { stderr } = await new Deno.Command(tool("skopeo"), {
          args: ["inspect", `docker://${name}`],
          env: { HOME: dir.path },
        }).output();
        const theirs = asked.splice(0);
        using client = new RegistryClient({
          surroundings: {
            variable: (variable) => variable === "HOME" ? dir.path : undefined,
            uid: 0,
            root: dir.join("nothing"),
          },
        });
        const reference = parseDockerReference(name);
        const failure = await client.repository(reference)
          .then((repository) => repository.manifest(reference.digest ?? reference.tag ?? "latest"))
          .then(() => undefined, (error: unknown) => error);
        assert.deepEqual(asked.splice(0), theirs, new TextDecoder().decode(stderr));
        if (name.startsWith("busybox")) assert.ok(failure instanceof PolicyError);
        else assert.ok(theirs.length > 0);
      });
    }
  },
});
