// The colours that were chosen, before the first paint; without a choice those of the system.
"use strict";
{
  const chosen = localStorage.getItem("budget-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
