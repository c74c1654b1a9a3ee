"""The admin shows versions and deployments, and changes nothing."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import RequestFactory

from apps.integrations.models import Deployment, FlowVersion
from apps.integrations.services.deployments import deploy_version
from tests.integrations.factories import BEN, make_flow, make_version


@pytest.mark.parametrize("model", [FlowVersion, Deployment])
def test_admin_is_read_only(model):
    page = admin.site._registry[model]
    request = RequestFactory().get("/admin/")
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)


def test_admin_pages_show_rows_and_offer_no_change(erp, acme, client_for):
    flow = make_flow()
    make_version(flow)
    deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    administrator, viewer = client_for(acme), client_for(acme, roles=("viewer",))
    for name, pk in (("flowversion", flow.versions.get().pk), ("deployment", flow.deployments.get().pk)):
        listing = administrator.get(f"/admin/integrations/{name}/")
        assert (listing.status_code, flow.name in listing.content.decode()) == (200, True)
        page = administrator.get(f"/admin/integrations/{name}/{pk}/change/")
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()
        assert administrator.get(f"/admin/integrations/{name}/add/").status_code == 403
        assert viewer.get(f"/admin/integrations/{name}/").status_code == 302
