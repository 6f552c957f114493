import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './page.css';
import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';
import { ask, makeFetcher, signOut } from './session';
import { exampleTabs, WHO, type ViewerData } from './tabs';

/** Nothing is left in the browser: documents and answers are about somebody's money. */
function forgetful(): Storage {
  const kept = new Map<string, string>();
  return {
    get length() {
      return kept.size;
    },
    clear: () => kept.clear(),
    getItem: (name) => kept.get(name) ?? null,
    key: (index) => [...kept.keys()][index] ?? null,
    removeItem: (name) => void kept.delete(name),
    setItem: (name, value) => void kept.set(name, value),
  };
}

function Page({ data }: { data: ViewerData | null }) {
  const roles = data?.viewer.roles.map((role) => role.toLowerCase()).join(', ');
  return (
    <>
      <header className="bar">
        <img src={`${import.meta.env.BASE_URL}icon.svg`} alt="" width="24" height="24" />
        <h1>Isthmus playground</h1>
        <p className="who">{data ? `signed in as ${roles}` : 'this sign-in may not read'}</p>
        <button type="button" onClick={() => void signOut()}>
          Sign out
        </button>
      </header>
      <main>
        <GraphiQL
          fetcher={makeFetcher()}
          storage={forgetful()}
          defaultTabs={exampleTabs(data)}
          defaultEditorToolsVisibility="variables"
          shouldPersistHeaders={false}
        >
          <GraphiQL.Logo>
            <span />
          </GraphiQL.Logo>
        </GraphiQL>
      </main>
    </>
  );
}

const root = document.getElementById('root');
if (!root) throw new Error('the page has no root');
ask<ViewerData>(WHO).then((data) => createRoot(root).render(<Page data={data} />));
