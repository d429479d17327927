// All jobs, newest first, each with its first pictures.
import { api, live, picture } from './api.js';
import { ago, duration, h, number, rate, stateOf } from './ui.js';

// "1,234 of 100,000 · 12.4 images/s · about 2 h left"
export function progress(job) {
  const left = Number(job.variants) - Number(job.committed) - Number(job.failed) - Number(job.cancelled);
  const state = stateOf(job.state);
  const words = [`${number(job.committed)} of ${number(job.variants)}`];
  if (Number(job.failed)) words.push(`${number(job.failed)} failed`);
  if (state === 'running' && job.images_per_second > 0) {
    words.push(`${rate(job.images_per_second)} images/s`);
    if (left > 0) words.push(`about ${duration(left / job.images_per_second)} left`);
  }
  if (Number(job.ended_unix_ms) && Number(job.started_unix_ms))
    words.push(`in ${duration((job.ended_unix_ms - job.started_unix_ms) / 1000)}`);
  return words.join(' · ');
}

export class Bar {
  constructor() {
    this.done = h('i');
    this.failed = h('i');
    this.root = h('div', { class: 'bar', role: 'progressbar', 'aria-label': 'Rendered', 'aria-valuemin': 0, 'aria-valuemax': 100 }, this.done, this.failed);
  }
  show(job) {
    const part = (count) => `${(100 * Number(count)) / Math.max(1, Number(job.variants))}%`;
    this.done.style.width = part(job.committed);
    this.failed.style.width = part(job.failed);
    this.root.setAttribute('aria-valuetext', progress(job));
    this.root.setAttribute('aria-valuenow', Math.floor((100 * Number(job.committed)) / Math.max(1, Number(job.variants))));
  }
}

class JobRow {
  constructor(job, watcher) {
    this.title = h('a', { href: `#/jobs/${job.id}` });
    this.state = h('span');
    this.words = h('span', { class: 'number' });
    this.when = h('span', { class: 'soft' });
    this.bar = new Bar();
    this.strip = h('div', { class: 'strip', 'aria-hidden': 'true' });
    this.root = h('li', { class: 'job' }, h('h2', {}, this.title),
      h('div', { class: 'job-line' }, this.state, this.words, this.when), this.bar.root, this.strip);
    this.root.row = this;
    this.pictured = -1;
    watcher.observe(this.root);
  }
  show(job) {
    this.job = job;
    this.title.textContent = job.spec.name || job.id;
    this.state.className = `state ${stateOf(job.state)}`;
    this.state.textContent = stateOf(job.state);
    this.words.textContent = progress(job);
    this.when.textContent = [job.spec.tenant !== 'default' ? job.spec.tenant : '', ago(job.submitted_unix_ms)].filter(Boolean).join(' · ');
    this.bar.show(job);
    if (this.visible) this.pictures();
  }
  // Asked for when it is looked at, and again while more may come.
  async pictures() {
    const committed = Number(this.job.committed);
    if (!committed || this.pictured >= 16 || this.busy || this.pictured === committed) return;
    this.busy = true;
    try {
      const { variants } = await api(`jobs/${this.job.id}/variants?limit=16`);
      const there = variants.filter((variant) => variant.state === 'VARIANT_STATE_COMMITTED');
      for (const variant of there) {
        if (this.strip.querySelector(`[data-index="${variant.index}"]`)) continue;
        this.strip.append(h('a', { href: `#/jobs/${this.job.id}/variants/${variant.index}`, tabindex: -1, 'data-index': variant.index },
          h('img', { alt: '', loading: 'lazy', decoding: 'async', src: picture(this.job.id, variant.index, 256) })));
      }
      this.pictured = there.length === 16 ? 16 : committed;
    } catch { /* the next event asks again */ }
    this.busy = false;
  }
}

export function jobsPage(main, me) {
  const list = h('ul', { class: 'jobs' });
  const rows = new Map();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      target.row.visible = isIntersecting;
      if (isIntersecting && target.row.job) target.row.pictures();
    }
  }, { rootMargin: '200px' });
  const empty = h('div', { class: 'empty' });
  main.replaceChildren(h('h1', {}, 'Jobs'), empty, list);
  if (!me.lists) {
    empty.append(h('h2', {}, 'Open a job'), h('p', {}, 'This token may look at jobs whose id you know.'),
      h('form', { onsubmit: (event) => { event.preventDefault(); location.hash = `#/jobs/${encodeURIComponent(event.target.id_.value.trim())}`; } },
        h('input', { name: 'id_', 'aria-label': 'Id of the job', placeholder: 'j0123…', required: true }), ' ', h('button', { class: 'first' }, 'Open')));
    return () => {};
  }
  const show = ({ jobs }) => {
    if (!jobs.length) {
      empty.replaceChildren(h('h2', {}, 'No jobs yet'), h('p', {}, 'tiltshift submit campaign.yaml begins one; its pictures come here as they are rendered.'));
    } else {
      empty.replaceChildren();
    }
    const known = new Set(jobs.map((job) => job.id));
    for (const [id, row] of rows) if (!known.has(id)) { row.root.remove(); rows.delete(id); }
    jobs.forEach((job, at) => {
      let row = rows.get(job.id);
      if (!row) rows.set(job.id, (row = new JobRow(job, watcher)));
      row.show(job);
      if (list.children[at] !== row.root) list.insertBefore(row.root, list.children[at] || null);
    });
  };
  const stop = live('live/jobs', { jobs: show, trouble: ({ error }) => empty.replaceChildren(h('p', { class: 'bad' }, error)) });
  return () => { stop(); watcher.disconnect(); };
}
