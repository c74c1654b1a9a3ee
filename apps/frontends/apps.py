from django.apps import AppConfig


class FrontendsConfig(AppConfig):
    name = "apps.frontends"
    label = "frontends"
    verbose_name = "Front ends"
