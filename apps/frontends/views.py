"""The one page that holds the browser side."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.frontends.exceptions import BuildInvalid, BuildMissing
from apps.frontends.services.bootstrap import build_bootstrap
from apps.frontends.services.builds import get_build
from apps.frontends.services.import_map import build_import_map, file_url, list_preloads


@require_safe
@never_cache
@login_required
def shell(request: HttpRequest) -> HttpResponse:
    """The shell for every address of the browser's router: import map, bootstrap data, first script.

    Without a usable build it says so, with the command that makes one, instead of staying blank.
    """
    try:
        build = get_build()
    except (BuildMissing, BuildInvalid) as error:
        return render(request, "portal/build_missing.html", {"error": error}, status=error.status)
    bootstrap = build_bootstrap(request, build)
    context = {
        "bootstrap": bootstrap,
        "theme": bootstrap["user"]["theme"],
        "locale": bootstrap["user"]["locale"],
        "tenant_name": bootstrap["tenant"]["name"],
        "import_map": build_import_map(build),
        "entry": file_url(build.entry),
        "entry_integrity": build.integrity[build.entry],
        "preloads": list_preloads(build),
    }
    return render(request, "portal/shell.html", context)
