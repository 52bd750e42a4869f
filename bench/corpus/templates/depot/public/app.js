document.querySelector('#search').addEventListener('submit', async (event) => {
  event.preventDefault();
  const id = new FormData(event.target).get('id');
  const answer = await fetch(`/parcels/${encodeURIComponent(id)}`);
  document.querySelector('#found').textContent = JSON.stringify(await answer.json(), null, 2);
});
