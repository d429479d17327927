// Tiles of a hundred thousand pictures, of which only those near the window exist. Pictures are drawn on canvases,
// since a browser keeps what img elements have shown long after they are gone. For the keyboard and
// for screen readers it is a list box: one stop, arrows move, Enter opens, f is a favourite.
import { picture, tileSide } from './api.js';
import { favourites, toggle } from './favourites.js';
import { h, number, stateOf } from './ui.js';

const GAP = 14, LABEL = 26, MARGIN_ROWS = 2;
const TALLEST = 8e6;  // pixels; browsers end somewhere above
const HASTE_MS = 80;  // what is scrolled past sooner is not asked for

export class Grid {
  // `label(variant)`: a line below the picture; `open(variant)`.
  constructor({ job, shape, label, open }) {
    Object.assign(this, { job, shape, label, open });
    this.tiles = new Map();
    this.spare = [];
    this.active = 0;
    this.liked = favourites(job);
    this.root = h('div', { class: 'grid', role: 'listbox', tabindex: 0, 'aria-label': 'Pictures', 'aria-multiselectable': true,
      'aria-description': 'Arrows move, Enter opens, f marks a favourite', onkeydown: (event) => this.key(event),
      onclick: (event) => this.click(event), onfocus: () => this.soon(), onblur: () => this.soon() });
    this.draw = this.draw.bind(this);
    this.soon = () => { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); }); };
    this.onliked = ({ detail }) => { if (detail.job === job) { this.liked = favourites(job); this.soon(); } };
    this.scrolled = -Infinity;
    this.onscroll = () => { this.scrolled = performance.now(); this.soon(); };
    addEventListener('scroll', this.onscroll, { passive: true });
    addEventListener('resize', this.soon);
    addEventListener('favourites', this.onliked);
  }
  end() {
    for (const tile of this.tiles.values()) this.wipe(tile);
    removeEventListener('scroll', this.onscroll);
    removeEventListener('resize', this.soon);
    removeEventListener('favourites', this.onliked);
  }
  show(source) {
    this.source = source;
    source.seen = this.soon;
    for (const place of [...this.tiles.keys()]) this.drop(place);
    this.active = Math.min(this.active, Math.max(0, source.total - 1));
    this.draw();
  }
  // Something of the job has changed.
  refresh() {
    if (this.source && this.shown) this.source.refresh(...this.shown);
  }

  measure() {
    const width = this.root.clientWidth;
    const least = width < 520 ? 104 : 172;
    this.columns = Math.max(2, Math.floor((width + GAP) / (least + GAP)));
    this.side = (width - GAP * (this.columns - 1)) / this.columns;
    this.height = Math.round(this.side * this.shape);
    this.row = this.height + LABEL + GAP;
    this.rows = Math.ceil(this.source.total / this.columns);
    this.whole = this.rows * this.row;
    this.tall = Math.min(this.whole, TALLEST);
    this.root.style.height = `${this.tall}px`;
  }
  // Which pixel of the whole grid is at the window's top: they differ where the whole is too tall.
  offset() {
    const top = Math.max(0, -this.root.getBoundingClientRect().top);
    if (this.whole <= this.tall) return { top, pixel: top };
    const way = Math.max(1, this.tall - innerHeight);
    return { top, pixel: Math.min(1, top / way) * (this.whole - innerHeight) };
  }
  draw() {
    if (!this.source || !this.root.isConnected) return;
    this.measure();
    const { top, pixel } = this.offset();
    const first = Math.max(0, Math.floor(pixel / this.row) - MARGIN_ROWS);
    const last = Math.min(this.rows - 1, Math.ceil((pixel + innerHeight) / this.row) + MARGIN_ROWS);
    const from = first * this.columns, to = Math.min(this.source.total, (last + 1) * this.columns) - 1;
    this.shown = [from, Math.max(from, to)];
    for (const place of [...this.tiles.keys()]) if (place < from || place > to) this.drop(place);
    for (let place = from; place <= to; place++) {
      const tile = this.tiles.get(place) || this.make(place);
      const x = (place % this.columns) * (this.side + GAP);
      const y = Math.floor(place / this.columns) * this.row - pixel + top;
      tile.element.style.transform = `translate(${x}px, ${y}px)`;
      tile.element.style.width = `${this.side}px`;
      tile.pic.style.height = `${this.height}px`;
      this.fill(tile, place);
    }
    this.root.setAttribute('aria-activedescendant', this.tiles.has(this.active) ? `tile-${this.active}` : '');
  }
  make(place) {
    let tile = this.spare.pop();
    if (!tile) {
      tile = { pic: h('div', { class: 'pic' }), canvas: h('canvas', { 'aria-hidden': true }), label: h('div', { class: 'label' }), heart: h('button', { class: 'heart', tabindex: -1, type: 'button', 'aria-hidden': true }) };
      tile.element = h('figure', { class: 'tile', role: 'option' }, tile.pic, tile.label);
    }
    tile.element.id = `tile-${place}`;
    tile.element.dataset.place = place;
    tile.element.setAttribute('aria-posinset', place + 1);
    tile.element.setAttribute('aria-setsize', this.source.total);
    tile.what = '';
    this.tiles.set(place, tile);
    this.root.append(tile.element);
    return tile;
  }
  drop(place) {
    const tile = this.tiles.get(place);
    this.tiles.delete(place);
    tile.element.remove();
    tile.pic.replaceChildren();
    this.wipe(tile);
    if (this.spare.length < 60) this.spare.push(tile);
  }
  // Touches only what has changed.
  fill(tile, place) {
    const variant = this.source.at(place);
    const state = variant ? stateOf(variant.state) : 'unknown';
    const liked = variant !== null && this.liked.has(variant.index);
    tile.element.className = `tile ${state}${liked ? ' liked' : ''}${place === this.active && this.root.contains(document.activeElement) ? ' active' : ''}`;
    tile.element.setAttribute('aria-selected', liked);
    tile.variant = variant;
    const what = variant ? `${variant.index} ${state}` : '';
    if (what !== tile.what || !tile.pic.firstChild) {
      tile.what = what;
      this.fillNew(tile, variant, state);
    }
    tile.heart.textContent = liked ? '♥' : '♡';
    tile.heart.title = liked ? 'No longer a favourite' : 'Favourite';
  }
  fillNew(tile, variant, state) {
    if (!variant) {
      tile.pic.replaceChildren(h('span', { class: 'word' }));
      tile.label.textContent = '';
      tile.element.setAttribute('aria-label', 'not loaded yet');
      return;
    }
    const label = this.label(variant);
    tile.label.textContent = label;
    tile.element.setAttribute('aria-label', `${number(variant.index)}: ${label}, ${state === 'committed' ? 'rendered' : state}`);
    if (state !== 'committed') {
      tile.pic.replaceChildren(h('span', { class: 'word', title: variant.reason || null }, state === 'waiting' ? '' : state), tile.heart);
      return;
    }
    tile.pic.replaceChildren(tile.canvas, tile.heart);
    this.paint(tile, variant.index);
  }
  async paint(tile, index) {
    this.wipe(tile);
    const wanted = (tile.wanted = new AbortController());
    if (performance.now() - this.scrolled < HASTE_MS) await new Promise((resolve) => { setTimeout(resolve, HASTE_MS); });
    if (wanted.signal.aborted) return;
    try {
      const response = await fetch(picture(this.job, index, tileSide()), { signal: wanted.signal });
      if (!response.ok) throw new Error(`the farm answered ${response.status}`);
      const pixels = (length) => Math.max(1, Math.round(length * devicePixelRatio));
      const bitmap = await createImageBitmap(await response.blob(), { resizeWidth: pixels(this.side), resizeHeight: pixels(this.height), resizeQuality: 'medium' });
      if (!wanted.signal.aborted) {
        Object.assign(tile.canvas, { width: bitmap.width, height: bitmap.height });
        tile.canvas.getContext('2d', { alpha: false }).drawImage(bitmap, 0, 0);
        tile.canvas.classList.add('there');
      }
      bitmap.close();
    } catch (error) {
      if (!wanted.signal.aborted) tile.pic.replaceChildren(h('span', { class: 'word', title: error.message }, 'not shown'), tile.heart);
    }
  }
  // Ends what is under way, and gives back what the picture held.
  wipe(tile) {
    tile.wanted?.abort();
    tile.wanted = null;
    tile.canvas.classList.remove('there');
    tile.canvas.width = tile.canvas.height = 0;
  }

  click(event) {
    const element = event.target.closest('.tile');
    if (!element) return;
    this.active = Number(element.dataset.place);
    const variant = this.tiles.get(this.active)?.variant;
    if (!variant) return;
    if (event.target.closest('.heart')) toggle(this.job, variant.index);
    else this.open(variant);
    this.soon();
  }
  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -4 * this.columns, PageDown: 4 * this.columns,
      Home: -Infinity, End: Infinity };
    const variant = this.tiles.get(this.active)?.variant;
    if (event.key in steps && !event.altKey && !event.metaKey) this.move(this.active + steps[event.key]);
    else if ((event.key === 'Enter' || event.key === ' ') && variant) this.open(variant);
    else if (event.key === 'f' && variant && !event.ctrlKey && !event.metaKey) toggle(this.job, variant.index);
    else return;
    event.preventDefault();
  }
  // To a place, which is brought into the window.
  move(place) {
    this.active = Math.min(Math.max(0, place), this.source.total - 1);
    const row = Math.floor(this.active / this.columns);
    const { top, pixel } = this.offset();
    const above = row * this.row - 20, below = (row + 1) * this.row - innerHeight + 20;
    const goal = pixel > above ? above : pixel < below ? below : null;
    if (goal !== null) {
      const scale = this.whole <= this.tall ? 1 : Math.max(1, this.tall - innerHeight) / (this.whole - innerHeight);
      scrollBy(0, this.whole <= this.tall ? goal - pixel : goal * scale - top);
    }
    this.draw();
  }
}
