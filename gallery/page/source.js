// Variants by their place in what is shown, in pages that are asked for when they are looked at and
// kept while they are near.
import { api } from './api.js';
import { ranges } from './favourites.js';

const PAGE = 100, KEPT = 40;
const ended = (variant) => variant.state !== 'VARIANT_STATE_WAITING';

class Pages {
  constructor() { this.pages = new Map(); this.asked = new Set(); this.seen = () => {}; }
  // The variant, if it is known; asks for it else.
  at(place) {
    const page = this.pages.get(Math.floor(place / PAGE));
    if (page) return page[place % PAGE];
    this.fetch(Math.floor(place / PAGE));
    return null;
  }
  // Asks again for what may have changed between two places.
  refresh(first, last) {
    for (let number = Math.floor(first / PAGE); number <= Math.floor(last / PAGE); number++) {
      const page = this.pages.get(number);
      if (page && !page.every(ended)) this.fetch(number);
    }
    for (const [number, page] of this.pages)
      if ((number < Math.floor(first / PAGE) || number > Math.floor(last / PAGE)) && !page.every(ended)) this.pages.delete(number);
  }
  async fetch(number) {
    if (this.asked.has(number)) return;
    this.asked.add(number);
    try {
      const page = await this.load(number);
      this.pages.delete(number);
      this.pages.set(number, page);
      if (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
      this.seen();
    } catch (error) {
      this.failed?.(error);
    } finally {
      this.asked.delete(number);
    }
  }
}

const named = (variant) => ({ ...variant, index: Number(variant.index) });

// All of a job, or those with the chosen values; `range`: of one entry alone.
export class Chosen extends Pages {
  constructor(job, choices = {}, range = null) {
    super();
    this.job = job;
    this.query = Object.entries(choices).filter(([, value]) => value !== '')
      .map(([axis, value]) => `&axis.${encodeURIComponent(axis)}=${encodeURIComponent(value)}`).join('');
    this.range = range;
    this.total = range ? range.count : 0;
  }
  async open() {
    await this.fetch(0);
    return this;
  }
  async load(number) {
    const first = number * PAGE + (this.range ? this.range.first : 0);
    const limit = this.range ? Math.min(PAGE, this.range.count - number * PAGE) : PAGE;
    const answer = await api(`jobs/${this.job}/variants?first=${first}&limit=${limit}${this.query}`);
    if (!this.range) this.total = Number(answer.total);
    return answer.variants.map(named);
  }
}

// Some by their index.
export class Picked extends Pages {
  constructor(job, indices) {
    super();
    this.job = job;
    this.indices = [...indices].sort((a, b) => a - b);
    this.total = this.indices.length;
  }
  async open() {
    if (this.total) await this.fetch(0);
    return this;
  }
  async load(number) {
    const wanted = this.indices.slice(number * PAGE, (number + 1) * PAGE);
    const parts = ranges(wanted).split(',').map((part) => part.split('-').map(Number));
    const answers = await Promise.all(parts.map(([first, last = first]) =>
      api(`jobs/${this.job}/variants?first=${first}&limit=${last - first + 1}`)));
    return answers.flatMap((answer) => answer.variants.map(named));
  }
}
