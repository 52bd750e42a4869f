import { expect, test } from '@playwright/test';

test('books a room', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('button', { name: 'book' }).click();
  await expect(page.getByRole('listitem')).toHaveCount(1);
});

test('shows the rooms', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByRole('heading')).toHaveText('Rooms');
});
