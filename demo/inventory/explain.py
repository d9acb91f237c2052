"""A page for staff: why a user may do something, or why not."""

from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from .models import Product, Supplier, User
from .pages import current_user, page

PERMS = {
    f"inventory.{codename}": model
    for model, codenames in {
        Product: ["view_product", "change_product", "discontinue_product", "delete_product"],
        Supplier: ["view_supplier", "manage_supplier"],
    }.items()
    for codename in codenames
}


class ExplainForm(forms.Form):
    user = forms.ModelChoiceField(User.objects.order_by("username"), to_field_name="username")
    perm = forms.ChoiceField(label="Permission", choices=[(perm, perm) for perm in PERMS])
    object = forms.CharField(
        required=False,
        help_text="The code of a product, such as PROD123, or the name of a supplier."
        " Leave it empty to check the model level.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        name, perm = cleaned.get("object"), cleaned.get("perm")
        cleaned["found"] = self._find(perm, name) if perm and name else None
        return cleaned

    def _find(self, perm: str, name: str) -> Model | None:
        model = PERMS[perm]
        field = "code" if model is Product else "name"
        found = model._default_manager.filter(**{f"{field}__iexact": name}).first()
        if found is None:
            self.add_error("object", f"There is no {model._meta.verbose_name} {name!r}.")
        return found


@require_safe
@login_required
async def explain(request: HttpRequest) -> HttpResponse:
    if not (await current_user(request)).is_staff:
        raise PermissionDenied("Only staff may ask about the permissions of others.")
    form = ExplainForm(request.GET or None)
    explanation, log = None, ""
    if await sync_to_async(form.is_valid)():
        asked = form.cleaned_data
        on = [asked["found"]] if asked["found"] else []
        explanation = await asked["user"].aexplain_perm(asked["perm"], *on)
        # Explaining writes no log, and a check does.
        await asked["user"].ahas_perm(asked["perm"], *on)
        log = asked["user"].get_last_log()
    # Rendering the form fetches the users.
    text = await sync_to_async(form.as_div)()
    return await page(request, "explain.html", form=text, explanation=explanation, log=log)
