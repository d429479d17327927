// Which page is shown, by the address behind #, and who looks at it.
import { api } from './api.js';
import { h, keepFocus, say } from './ui.js';
import { JobPage } from './job.js';
import { jobsPage } from './jobs.js';
import { workersPage } from './workers.js';

const main = document.getElementById('main');
let me = null, page = null, shown = '', waiting = 0, arrived = 0;

function leave() {
  page?.end();
  page = null;
}

async function findMe() {
  const answer = await api('me');
  const roles = answer.token?.roles || [];
  const has = (role) => roles.includes(`ROLE_${role}`);
  me = { ...answer, operates: has('OPERATE'), lists: has('OPERATE') || has('READ'), changes: has('OPERATE') || has('SUBMIT') };
}

function header(where) {
  const link = (address, text, here) => h('a', { href: address, 'aria-current': here ? 'page' : null }, text);
  const links = me?.signed_in ? [link('#/', 'Jobs', where !== 'workers'), ...(me.operates ? [link('#/workers', 'Workers', where === 'workers')] : [])] : [];
  const nav = document.getElementById('nav');
  keepFocus(nav, () => nav.replaceChildren(...links));
  const who = me?.signed_in && me.asks ? [h('span', {}, me.token.name || me.token.tenant), h('button', { class: 'plain', id: 'logout', onclick: logOut }, 'Log out')] : [];
  document.getElementById('who').replaceChildren(...who);
}

async function logOut() {
  await api('logout', {}).catch(() => {});
  sessionStorage.clear();
  me = { signed_in: false, asks: true };
  show();
}

function loginPage() {
  const input = h('input', { type: 'password', name: 'token', id: 'token', autocomplete: 'current-password', required: true, spellcheck: 'false' });
  const wrong = h('p', { class: 'bad', role: 'alert' });
  const submit = async (event) => {
    event.preventDefault();
    wrong.textContent = '';
    try {
      await api('login', { secret: input.value.trim() });
      await findMe();
      show();
    } catch (error) {
      wrong.textContent = error.message;
      input.select();
    }
  };
  main.replaceChildren(h('form', { class: 'login', onsubmit: submit }, h('h1', {}, 'Whose pictures?'),
    h('p', { class: 'soft' }, 'This farm shows its pictures to those who have a token of it. It stays between this browser and the farm.'),
    h('label', { class: 'field' }, h('span', {}, 'Token'), input), wrong, h('div', {}, h('button', { class: 'first' }, 'Log in'))));
  input.focus();
}

// While another scheduler leads: where the farm is shown then, for as long as that is so.
function standbyPage() {
  leave();
  shown = '';
  document.title = 'Tiltshift';
  const leader = /^https?:\/\//.test(me.leader) ? me.leader : '';
  const here = `${leader}|${location.hash}`;
  if (main.firstChild?.dataset?.standby !== here) {
    const words = leader ? [h('p', {}, 'Another scheduler leads this farm now, and shows it here:'), h('p', {}, h('a', { href: leader + location.hash }, leader))]
      : [h('p', {}, 'Another scheduler leads this farm, or none does yet; where its gallery is, nobody has said.')];
    main.replaceChildren(h('div', { class: 'empty', 'data-standby': here }, h('h1', {}, 'This scheduler stands by'), ...words,
      h('p', { class: 'small' }, 'This page looks again by itself, and goes on when this scheduler leads.')));
  }
  clearTimeout(waiting);
  waiting = setTimeout(lookWhoLeads, 2000);
}

async function lookWhoLeads() {
  try {
    const stood_by = me?.stands_by;
    await findMe();
    if (me.stands_by || stood_by) show();
  } catch {
    if (me?.stands_by) waiting = setTimeout(lookWhoLeads, 2000);
  }
}

// Where another page was come to, it is what a screen reader goes on with.
function arrive() {
  const heading = main.querySelector('h1');
  if (!heading || !arrived++) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

async function show() {
  if (me.stands_by) { header(''); return standbyPage(); }
  const [where = '', id, ...view] = location.hash.replace(/^#\/?/, '').split('/');
  header(where);
  if (!me.signed_in) {
    leave();
    shown = '';
    return loginPage();
  }
  try {
    if (where === 'jobs' && id) {
      if (shown !== id) {
        leave();
        main.replaceChildren();
        scrollTo(0, 0);
        shown = id;
        page = new JobPage(main, me, id);
        await page.open();
        if (shown === id) arrive();
      }
      if (shown === id) await page.show(view);
      return;
    }
    leave();
    document.title = 'Tiltshift';
    shown = where;
    page = { end: where === 'workers' && me.operates ? workersPage(main) : jobsPage(main, me) };
    scrollTo(0, 0);
    arrive();
  } catch (error) {
    if (error.status === 401) return;
    leave();
    shown = '';
    main.replaceChildren(h('div', { class: 'empty' }, h('h2', {}, error.status === 404 ? 'There is no such job' : 'That did not work'), h('p', {}, error.message), h('p', {}, h('a', { href: '#/' }, 'All jobs'))));
  }
}

addEventListener('hashchange', show);
let asked = 0;
addEventListener('trouble', () => {
  if (!me || me.stands_by || Date.now() - asked < 1000) return;
  asked = Date.now();
  lookWhoLeads();
});
addEventListener('signed-out', () => {
  if (!me?.signed_in) return;
  me = { signed_in: false, asks: true };
  say('Log in again');
  show();
});
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  (main.querySelector('.grid') || main).focus();
});

async function begin() {
  try {
    await findMe();
  } catch (error) {
    main.replaceChildren(h('div', { class: 'empty' }, h('h2', {}, 'The farm does not answer'), h('p', {}, error.message)));
    setTimeout(begin, 2000);
    return;
  }
  show();
}
begin();
