// Owns the regions of a program (`spprof.region`) as samples carry them: what they are called and which there are.
import type { Profile } from './container';
import type { Column, LabelRow, SampleRow, Writable } from './rows';

const REGION = 'region';

export interface Regions {
  /** `load dataset=a`: a region's name and its own labels. */
  readonly texts: readonly string[];
  readonly names: readonly string[];
  /** Rows of `texts` that a row of labels is in, outermost first. */
  readonly chain: Column<LabelRow, readonly number[]>;
}

/** Labels are the same columns in every form of a profile. */
const known = new WeakMap<object, Regions>();

export function regionsOf(profile: Profile): Regions {
  const { labelParent, labelKey, labelValue, strings } = profile;
  const before = known.get(labelParent);
  if (before) return before;
  const texts: string[] = [];
  const names: string[] = [];
  const rows = new Map<string, number>();
  const chain: Writable<LabelRow, readonly number[]> = new Array<readonly number[]>(labelParent.length).fill([]);
  for (let label = 0 as LabelRow; label < labelParent.length; label++) {
    const parent = labelParent[label];
    const around = parent < 0 ? [] : chain[parent];
    const [key, value] = [strings.get(labelKey[label]), strings.get(labelValue[label])];
    const innermost = around[around.length - 1];
    if (key !== REGION && innermost === undefined) continue;
    const text = key === REGION ? value : `${texts[innermost]} ${key}=${value}`;
    let row = rows.get(text);
    if (row === undefined) {
      row = texts.push(text) - 1;
      names.push(key === REGION ? value : names[innermost]);
      rows.set(text, row);
    }
    // A region's labels come after its name: they say more of the same region.
    chain[label] = key === REGION ? [...around, row] : [...around.slice(0, -1), row];
  }
  const regions = { texts, names, chain };
  known.set(labelParent, regions);
  return regions;
}

/** 1 for each row of labels that is in a region, which is told by its name or its text. */
export function labelsInside(profile: Profile, region: string): Column<LabelRow, number> {
  const { texts, names, chain } = regionsOf(profile);
  const inside: Writable<LabelRow, number> = new Uint8Array(chain.length);
  for (let label = 0 as LabelRow; label < chain.length; label++) {
    if (chain[label].some((row) => names[row] === region || texts[row] === region)) inside[label] = 1;
  }
  return inside;
}

export interface RegionChoice {
  /** The region's name, or its text where several have the name. */
  readonly region: string;
  /** Of those of one name, further in than the name itself. */
  readonly depth: 0 | 1;
  /** Nanoseconds within, with the regions inside of it. */
  readonly weight: number;
}

/** Regions that samples were taken in, by name and, where a name stands for several, each; those with most time first. */
export function regionChoices(profile: Profile, most = 60): RegionChoice[] {
  const { sampleLabel, sampleWeight } = profile;
  if (!sampleLabel) return [];
  const { texts, names, chain } = regionsOf(profile);
  const byText = new Map<string, number>();
  const byName = new Map<string, { weight: number; texts: Set<string> }>();
  for (let row = 0 as SampleRow; row < sampleLabel.length; row++) {
    const label = sampleLabel[row];
    if (label < 0) continue;
    const around = chain[label];
    for (const text of new Set(around.map((at) => texts[at]))) {
      byText.set(text, (byText.get(text) ?? 0) + sampleWeight[row]);
    }
    for (const name of new Set(around.map((at) => names[at]))) {
      const sum = byName.get(name) ?? { weight: 0, texts: new Set<string>() };
      sum.weight += sampleWeight[row];
      byName.set(name, sum);
    }
    for (const at of around) byName.get(names[at])?.texts.add(texts[at]);
  }
  const largest = <T extends { weight: number }>(of: T[]): T[] => of.sort((a, b) => b.weight - a.weight);
  const choices = largest(Array.from(byName, ([name, sum]) => ({ name, ...sum }))).flatMap(
    ({ name, weight, texts: of }) => {
      const each = Array.from(of, (region) => ({ region, depth: 1 as const, weight: byText.get(region) ?? 0 }));
      return of.size === 1
        ? [{ region: each[0].region, depth: 0 as const, weight }]
        : [{ region: name, depth: 0 as const, weight }, ...largest(each.filter(({ region }) => region !== name))];
    },
  );
  return choices.slice(0, most);
}
