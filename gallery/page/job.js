// A job: how far it is, its pictures, favourites, entries and failures, and what may be done with it.
import { api, live } from './api.js';
import { favourites, ranges } from './favourites.js';
import { entriesView, failuresView } from './tables.js';
import { Grid } from './grid.js';
import { Bar, progress } from './jobs.js';
import { Chosen, Picked } from './source.js';
import { moreLike, openCompare, openVariant, variantAt } from './variant.js';
import { ago, ask, bytes, h, keepFocus, number, say, stateOf } from './ui.js';

const ended = (job) => Number(job.ended_unix_ms) !== 0;

// The values that a filter offers: a list's, or those of a range that is short.
function valuesOf(axis) {
  if (axis.list) return axis.list.values;
  const values = [];
  for (const part of axis.range.split(',')) {
    const [, first, , last, , step] = part.match(/^\s*(-?\d+)(-(-?\d+))?(:(\d+))?\s*$/) || [];
    if (first === undefined) return null;
    for (let value = Number(first); value <= Number(last ?? first); value += Number(step ?? 1)) {
      if (values.push(`${value}`) > 300) return null;
    }
  }
  return values;
}

export class JobPage {
  constructor(main, me, id) {
    Object.assign(this, { main, me, id, choices: {}, seen: -1 });
    this.onliked = ({ detail }) => { if (detail.job === id) this.tabs(); };
    addEventListener('favourites', this.onliked);
  }
  end() {
    this.over = true;
    removeEventListener('favourites', this.onliked);
    this.grid?.end();
    this.table?.end();
    this.stop?.();
    clearInterval(this.clock);
    this.opened?.close();
  }
  async open() {
    this.job = await api(`jobs/${this.id}`);
    if (this.over) return;
    this.shape = (this.job.spec.render?.height || 256) / (this.job.spec.render?.width || 256);
    this.build();
    this.follow();
    this.clock = setInterval(() => this.explain(), 5000);
    this.explain();
  }
  build() {
    const { spec } = this.job;
    this.state = h('span');
    this.words = h('b');
    this.rest = h('span');
    this.bar = new Bar();
    this.why = h('p', { class: 'why', hidden: true });
    this.acts = h('div', { class: 'acts' });
    this.told = h('p', { class: 'hidden', role: 'status' });
    this.tabsRoot = h('nav', { class: 'tabs', 'aria-label': 'Of this job' });
    this.body = h('div');
    this.main.replaceChildren(
      h('div', { class: 'head' }, h('div', { class: 'head-row' }, h('h1', {}, spec.name || this.id), this.acts),
        h('p', { class: 'prompt' }, spec.prompt), h('div', { class: 'facts' }, this.state, this.words, this.rest), this.bar.root, this.told, this.why),
      this.tabsRoot, this.body);
    this.head();
  }
  follow() {
    this.stop?.();
    this.stop = live(`jobs/${this.id}/live`, { job: (job) => this.news(job), trouble: ({ error }) => say(error) });
  }
  news(job) {
    const before = this.job;
    this.job = { ...job, spec: this.job.spec };
    this.head();
    const changed = job.committed !== before.committed || job.failed !== before.failed || job.state !== before.state;
    if (!changed) return;
    if (job.state !== before.state) this.explain();
    if (!this.due) this.due = setTimeout(() => { this.due = 0; this.grid?.refresh(); this.opened?.look(); this.table?.look(); this.tabs(); }, 400);
  }
  head() {
    const { job } = this;
    this.state.className = `state ${stateOf(job.state)}`;
    this.state.textContent = stateOf(job.state);
    this.words.textContent = progress(job);
    const more = [job.spec.model, `${job.spec.render?.width || 256} × ${job.spec.render?.height || 256}`];
    if (Number(job.stored_bytes)) more.push(bytes(job.stored_bytes));
    if (job.spec.tenant && job.spec.tenant !== 'default') more.push(`of ${job.spec.tenant}`);
    if (Number(job.priority)) more.push(`priority ${job.priority}`);
    more.push(`submitted ${ago(job.submitted_unix_ms)}`);
    this.rest.textContent = more.join(' · ');
    this.bar.show(job);
    document.title = `${stateOf(job.state) === 'running' ? `${Math.floor((100 * job.committed) / job.variants)}% ` : ''}${job.spec.name} · Tiltshift`;
    this.actions();
    this.tell();
  }
  // A screen reader hears of every tenth of the way, and of every other state.
  tell() {
    const { job } = this;
    const way = `${job.state} ${Math.floor((10 * job.committed) / job.variants)}`;
    if (this.heard && way !== this.heard) this.told.textContent = `${stateOf(job.state)}: ${progress(job)}`;
    this.heard = way;
  }
  actions() {
    const { job } = this;
    const what = `${job.state} ${Number(job.failed) > 0} ${this.me.changes}`;
    if (what === this.offered) return;
    this.offered = what;
    const state = stateOf(job.state);
    const buttons = [];
    const offer = (name, action, first) => buttons.push(h('button', { class: first ? `${action} first` : action, onclick: () => this.act(action) }, name));
    if (this.me.changes) {
      if (Number(job.failed) > 0) offer('Retry what failed', 'retry', true);
      if (state === 'paused') offer('Resume', 'resume', true);
      if (state === 'running' || state === 'queued') offer('Pause', 'pause');
      if (!ended(job)) offer('Priority', 'priority');
      if (!ended(job)) offer('Cancel', 'cancel');
    }
    keepFocus(this.acts, () => this.acts.replaceChildren(...buttons));
  }
  async act(action) {
    let body = {};
    if (action === 'cancel' && !(await ask('Cancel this job?', h('p', { class: 'soft' }, `What is rendered stays; the other ${number(this.job.variants - this.job.committed - this.job.failed)} never will be.`), 'Cancel the job'))) return;
    if (action === 'priority') {
      const given = await ask('Priority', h('label', { class: 'field' }, h('span', {}, 'From -100 to 100: higher goes before the tenant\'s other jobs'),
        h('input', { name: 'priority', type: 'number', min: -100, max: 100, value: this.job.priority, required: true })), 'Set it');
      if (!given) return;
      body = { priority: Number(given.priority) };
    }
    try {
      const job = await api(`jobs/${this.id}/${action}`, body);
      this.news({ ...job });
      say({ retry: 'What failed waits again', resume: 'It goes on', pause: 'Nothing new is begun', cancel: 'It is cancelled', priority: `Its priority is ${job.priority}` }[action]);
      this.follow();
      this.explain();
    } catch (error) {
      say(error.message);
    }
  }
  async explain() {
    const state = stateOf(this.job.state);
    const waits = !ended(this.job) && !(state === 'running' && this.job.images_per_second > 0);
    if (!waits && !this.job.trouble) { this.why.hidden = true; return; }
    try {
      const { text } = await api(`jobs/${this.id}/explain`);
      this.why.textContent = this.job.trouble ? `${this.job.trouble} ${text}` : text;
      this.why.hidden = false;
    } catch { /* said elsewhere */ }
  }

  // `view`: what follows the job's id in the address.
  async show(view) {
    const [name, one, other] = view;
    const asked = (this.asked = {});
    this.opened?.close();
    this.opened = null;
    const left = () => { if (this.asked === asked) this.back(); };  // the visitor closed it, and nothing else did
    const over = { variants: () => openVariant(this.job, Number(one), this.me, left), compare: () => openCompare(this.job, Number(one), Number(other), left) }[name];
    if (over) {
      if (!this.view) await this.list('');
      try {
        const opened = await over();
        if (this.asked === asked) this.opened = opened;
        else opened.close();
      } catch (error) {
        say(error.message);
      }
      return;
    }
    await this.list(name || '', one);
  }
  back() {
    const there = location.hash.split('/');
    if (there[2] !== this.id || !['variants', 'compare'].includes(there[3])) return;
    location.hash = ['#', 'jobs', this.id, this.view, this.part].filter(Boolean).join('/');
  }
  tabs() {
    const liked = favourites(this.id).size;
    const link = (view, text) => h('a', { href: `#/jobs/${this.id}${view ? `/${view}` : ''}`, 'aria-current': this.view === view || (view === 'entries' && this.view === 'entry') ? 'page' : null }, text);
    keepFocus(this.tabsRoot, () => this.tabsRoot.replaceChildren(...[link('', 'Pictures'), link('favourites', `Favourites ${liked || ''}`.trim()),
      this.job.spec.kind === 'JOB_KIND_CONTEST' && link('entries', 'Entries'),
      Number(this.job.failed) > 0 && link('failures', `Failures ${number(this.job.failed)}`)].filter(Boolean)));
  }
  // `part`: which entry, where the view is of one.
  async list(view, part = '') {
    const same = this.view === view && (!view || (view === 'entry' && this.part === part));
    Object.assign(this, { view, part });
    this.tabs();
    if (same && this.grid) { this.note(); return; }
    this.grid?.end();
    this.table?.end();
    this.grid = this.table = null;
    this.body.replaceChildren();
    if (view === 'entries') this.table = entriesView(this.body, this.job);
    else if (view === 'failures') this.table = failuresView(this.body, this.job);
    else if (view === 'favourites') await this.showFavourites();
    else if (view === 'entry') await this.showEntry(part);
    else await this.showAll();
  }
  makeGrid() {
    const axes = (this.job.spec.axes || []).filter((axis) => axis.range || axis.list?.values.length > 1).map((axis) => axis.name);
    const names = this.job.spec.kind === 'JOB_KIND_CONTEST' ? ['id', ...axes] : axes;
    return new Grid({ job: this.id, shape: this.shape, label: (variant) => names.map((name) => variant.parameters[name]).join(', ') || variant.name,
      open: (variant) => this.chosen(variant) });
  }
  // A picture was opened: or it is the second one of a comparison.
  chosen(variant) {
    const [job, first] = (sessionStorage.getItem('compare') || '').split(' ');
    if (job === this.id && Number(first) !== variant.index) {
      sessionStorage.removeItem('compare');
      this.note();
      location.hash = `#/jobs/${this.id}/compare/${first}/${variant.index}`;
    } else {
      location.hash = `#/jobs/${this.id}/variants/${variant.index}`;
    }
  }
  note() {
    if (!this.notice) return;
    const [job, first] = (sessionStorage.getItem('compare') || '').split(' ');
    this.notice.replaceChildren(...(job === this.id ? [h('div', { class: 'notice' }, h('span', {}, `Choose a picture to compare with picture ${number(first)}.`),
      h('button', { class: 'plain', onclick: () => { sessionStorage.removeItem('compare'); this.note(); this.grid?.root.focus({ preventScroll: true }); } }, 'Never mind'))] : []));
    if (job === this.id && !document.querySelector('dialog')) this.grid?.root.focus({ preventScroll: true });
  }
  async showAll() {
    const grid = (this.grid = this.makeGrid());
    this.notice = h('div', { role: 'status' });
    this.count = h('span', { class: 'count number', 'aria-live': 'polite' });
    this.body.replaceChildren(this.notice, this.filters(), grid.root);
    this.note();
    await this.choose();
  }
  filters() {
    const fields = (this.job.spec.axes || []).map((axis) => {
      const values = valuesOf(axis);
      if (values && values.length < 2) return null;
      const chosen = this.choices[axis.name] ?? '';
      const change = (event) => { this.choices[axis.name] = event.target.value; this.choose(); };
      const field = values ? h('select', { name: axis.name, onchange: change }, h('option', { value: '' }, 'all'), values.map((value) => h('option', { value, selected: value === chosen }, value)))
        : h('input', { name: axis.name, onchange: change, placeholder: `all of ${axis.range}`, value: chosen });
      return h('label', { class: 'field' }, h('span', {}, axis.name), field);
    });
    return h('form', { class: 'filters', role: 'search', 'aria-label': 'Filter', onsubmit: (event) => event.preventDefault() }, fields, this.count);
  }
  async choose() {
    const source = await new Chosen(this.id, this.choices).open();
    if (source.total === 0 && Object.values(this.choices).some(Boolean)) say('No picture has these values');
    this.count.textContent = `${number(source.total)} ${source.total === 1 ? 'picture' : 'pictures'}`;
    source.failed = (error) => say(error.message);
    this.grid?.show(source);
  }
  // "12-3": three variants from the twelfth on.
  async showEntry(part) {
    const [first, count] = part.split('-').map(Number);
    const source = await new Chosen(this.id, {}, { first, count }).open();
    const { id, author } = source.at(0)?.parameters ?? {};
    const grid = (this.grid = this.makeGrid());
    this.notice = h('div', { role: 'status' });
    this.body.replaceChildren(this.notice, h('p', { class: 'soft entry' }, `${[id, author && `by ${author}`].filter(Boolean).join(', ')}: ${number(count)} pictures`), grid.root);
    this.note();
    grid.show(source);
  }
  async showFavourites() {
    const liked = [...favourites(this.id)];
    if (!liked.length) {
      this.body.replaceChildren(h('div', { class: 'empty' }, h('h2', {}, 'No favourites yet'), h('p', {}, 'The heart on a picture, or the key f, puts it here. Only this browser knows of them.')));
      return;
    }
    const grid = (this.grid = this.makeGrid());
    this.notice = h('div');
    const zip = `/api/jobs/${this.id}/pictures.zip?index=${ranges(liked)}`;
    const acts = h('div', { class: 'notice' }, h('span', {}, `${number(liked.length)} favourites, kept by this browser`),
      h('a', { class: 'button zip', href: zip, download: '' }, 'Download as zip'),
      this.me.changes && h('button', { class: 'more', onclick: async () => moreLike(this.job, await Promise.all(liked.slice(0, 50).map((index) => variantAt(this.id, index))), () => {}) }, 'More like these'),
      liked.length === 2 && h('a', { class: 'button', href: `#/jobs/${this.id}/compare/${liked[0]}/${liked[1]}` }, 'Compare the two'));
    this.body.replaceChildren(this.notice, acts, grid.root);
    grid.show(await new Picked(this.id, liked).open());
  }
}

