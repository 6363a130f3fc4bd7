// Addresses: which page a path names, and how a page is named. They are behind the # of this page's own.

/** Which of `pages` a path names, and what its `:` parts are. */
export function find(pages, path) {
  for (const page of pages) {
    const wanted = page.path.split('/');
    const parts = path.split('/');
    if (wanted.length !== parts.length) continue;
    const params = {};
    const fits = wanted.every((part, place) => {
      if (!part.startsWith(':')) return part === parts[place];
      try { params[part.slice(1)] = decodeURIComponent(parts[place]); } catch { return false; }
      return parts[place] !== '';
    });
    if (fits) return { page, params };
  }
  return null;
}

/** The address of a page. */
export function to(path, query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== '' && value != null);
  const search = new URLSearchParams(pairs).toString();
  return `#/${path}${search ? `?${search}` : ''}`;
}

/** Goes to a page; `quietly` puts it in the place of the one before. */
export function go(path, query, quietly) {
  const address = to(path, query);
  if (!quietly) location.hash = address;
  else {
    history.replaceState(null, '', address);
    window.dispatchEvent(new HashChangeEvent('hashchange'));
  }
}
